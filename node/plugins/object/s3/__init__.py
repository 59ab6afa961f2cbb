"""The S3 API over the same containers as Swift. Files are *resource_role*; every operation is one line of `service`."""
