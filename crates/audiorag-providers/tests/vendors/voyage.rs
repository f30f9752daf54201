//! voyage
