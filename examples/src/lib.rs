//! Small programs that use mini-platform as a library: see `examples/`.
