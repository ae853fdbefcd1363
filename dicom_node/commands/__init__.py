"""The command line. Exit codes: 0 well; 1 the answer is no (a fault, something refused or held); 2 wrong usage."""
