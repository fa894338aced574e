"""What people look at in a browser, beside the API that programs call."""
