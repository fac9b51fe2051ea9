"""The stages and the command line. They read and write files, measure times, print, and use DVC and MLflow; `cnnkeras` does not."""
