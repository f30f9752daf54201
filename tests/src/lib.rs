//! End-to-end tests of the `audiorag` program, in `it/`: they start it as a user does and look at its exit code,
//! its standard output and its standard error.
