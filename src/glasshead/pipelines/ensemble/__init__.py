"""Average several Classifiers into one."""
