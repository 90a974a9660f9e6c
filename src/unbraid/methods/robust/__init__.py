"""Methods that hold under changed data: adaptation, forgetting, protection."""
