"""The drill: clients write through every node while nodes die, hang and are cut off; then every answer is checked."""
