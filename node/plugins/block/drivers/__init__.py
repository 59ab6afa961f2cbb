"""Where the data of volumes are: one module for each way, behind the Protocol in `driver`."""
