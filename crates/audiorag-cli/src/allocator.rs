//! What the process asks of the C library's allocator.
#![expect(unsafe_code, reason = "the allocator is set up by a call of C")]

/// From this size on, a block is a mapping of its own, in bytes: more than what a model needs again and again, less than
/// a part of a recording, also as the file of half the size that is sent.
const LARGE: libc::c_int = 2 << 20;

/// Has memory of large blocks given back to the system when they are freed, and says whether it will be.
///
/// Without this, glibc takes the first large block that is freed for a sign that there will be more of them, and from
/// then on keeps such blocks in the heap of each thread, where smaller ones soon lie between them: what a process takes
/// at its most is then far more than what it uses at any time.
pub(crate) fn return_large_blocks() -> bool {
    // SAFETY: mallopt may be called at any time, by one thread at a time; it is called before there are others. It
    // takes numbers and changes when memory is returned, not what an allocation means.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) == 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_blocks_are_returned() {
        assert!(return_large_blocks());
        let before = resident();
        // Two, the first of which would have taught the allocator to keep the second.
        for _ in 0..2 {
            let block = vec![1_u8; 64 << 20];
            assert!(resident() >= before + (60 << 20));
            drop(block);
            assert!(resident() < before + (16 << 20), "a large block was kept");
        }
    }

    /// Memory of this process that is in use, in bytes.
    fn resident() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        let kibibytes = line.trim().trim_end_matches(" kB");
        kibibytes.parse::<u64>().unwrap() << 10
    }
}
