//! Ask questions of your audio, get answers whose citations play at the right second.
