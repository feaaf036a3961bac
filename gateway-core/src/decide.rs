//! What becomes of a request: the two calls that every data plane makes.
