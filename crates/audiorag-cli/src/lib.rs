//! The audiorag program: index audio, ask questions, get cited answers.
