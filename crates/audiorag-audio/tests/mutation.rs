//! Tens of thousands of damaged files of every format: each is read or refused within bounds of time and memory.
#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use audiorag_audio::SampleReader;
use audiorag_core::ErrorKind;
use peak_alloc::PeakAlloc;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Damaged files, over all seeds.
const FILES: u64 = 50_000;
/// The most memory that all threads together may ask for. A decoder's own tables take a few megabytes.
const MOST_MEGABYTES: f32 = 200.0;
/// Numbers that lengths and counts in headers turn into.
const EXTREMES: [u32; 6] = [0, 1, 0x7f, 0x7fff_ffff, 0xffff_ffff, 0x8000_0000];

/// Xorshift: the same files in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    fn range(&mut self, length: usize, most: usize) -> std::ops::Range<usize> {
        let start = self.below(length);
        start..(start + 1 + self.below(most)).min(length)
    }
}

fn damage(content: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        if content.len() < 8 {
            return;
        }
        // Headers are small and matter most.
        let reach = if random.below(2) == 0 {
            400.min(content.len())
        } else {
            content.len()
        };
        match random.below(8) {
            0 | 1 => {
                let place = random.below(reach);
                *content.get_mut(place).unwrap() ^= 1 << random.below(8);
            }
            2 => {
                let place = random.below(reach);
                *content.get_mut(place).unwrap() = random.below(256) as u8;
            }
            3 => {
                let place = random.below(reach.min(content.len() - 4));
                let number = *EXTREMES.get(random.below(EXTREMES.len())).unwrap();
                let bytes = if random.below(2) == 0 {
                    number.to_be_bytes()
                } else {
                    number.to_le_bytes()
                };
                content.get_mut(place..place + 4).unwrap().copy_from_slice(&bytes);
            }
            4 => {
                let range = random.range(reach, 64);
                content.drain(range);
            }
            5 => {
                let range = random.range(reach, 200);
                let copy = content.get(range.clone()).unwrap().to_vec();
                let place = random.below(reach);
                content.splice(place..place, copy);
            }
            6 => {
                let length = random.below(content.len());
                content.truncate(length.max(4));
            }
            _ => {
                let range = random.range(other.len(), 400);
                let place = random.below(reach);
                let end = (place + range.len()).min(content.len());
                content.splice(place..end, other.get(range).unwrap().iter().copied());
            }
        }
    }
}

/// Reads a file to its end; what is wrong with how that went.
fn complaint(path: &Path) -> Result<bool, String> {
    let read = || -> audiorag_core::Result<u64> {
        let mut reader = SampleReader::open(path)?;
        while reader.next_block()?.is_some() {}
        Ok(reader.position())
    };
    match catch_unwind(AssertUnwindSafe(read)) {
        Err(payload) => {
            let words = payload.downcast_ref::<String>().cloned();
            let words = words.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string));
            Err(format!("a panic came out: {}", words.unwrap_or_default()))
        }
        // Half a second of sound becomes minutes only if lengths are believed.
        Ok(Ok(samples)) if samples > 16_000 * 700 => Err(format!("{samples} samples came out")),
        Ok(Ok(_)) => Ok(true),
        Ok(Err(error)) => {
            let is_judged = matches!(error.kind(), ErrorKind::Input | ErrorKind::Unsupported);
            if !is_judged || error.hint().is_none() {
                return Err(format!("said only: {error:?}"));
            }
            if error.message().contains("took longer") || error.report().contains("stopped after") {
                return Err(error.report());
            }
            Ok(false)
        }
    }
}

#[test]
fn no_damaged_file_does_harm() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/seeds");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    assert_eq!(names.len(), 20);
    let seeds: Vec<Vec<u8>> = names.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let directory = tempfile::tempdir().unwrap();
    for path in &names {
        assert_eq!(complaint(path), Ok(true), "{}", path.display());
    }
    // Decoders panic, and the crate turns that into errors; their reports would hide what matters here.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    MEMORY.reset_peak_usage();
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get().min(8)) as u64;
    let work = |thread: u64| {
        let path = directory.path().join(format!("{thread}"));
        let (mut read, mut complaints) = (0_u64, Vec::new());
        for number in (thread..FILES).step_by(threads as usize) {
            // Spread over the whole range of the generator, and never zero.
            let mut random = Random((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let which = (number % seeds.len() as u64) as usize;
            let mut content = seeds.get(which).unwrap().clone();
            let other = seeds.get(random.below(seeds.len())).unwrap();
            damage(&mut content, other, &mut random);
            std::fs::write(&path, &content).unwrap();
            match complaint(&path) {
                Ok(whole) => read += u64::from(whole),
                Err(why) => complaints.push(format!(
                    "file {number} of {}: {why}",
                    names.get(which).unwrap().display()
                )),
            }
        }
        (read, complaints)
    };
    let (mut read, mut complaints) = (0, Vec::new());
    std::thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || work(thread)))
            .collect();
        for thread in running {
            let (more, wrong) = thread.join().unwrap();
            read += more;
            complaints.extend(wrong);
        }
    });
    std::panic::set_hook(hook);
    assert!(
        complaints.is_empty(),
        "{} of {FILES}:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
    // Both ways out were taken often, or nothing was tried.
    assert!(
        (FILES / 10..FILES * 9 / 10).contains(&read),
        "{read} of {FILES} were read to an end"
    );
    let peak = MEMORY.peak_usage_as_mb();
    assert!(peak < MOST_MEGABYTES, "{peak} MB");
}
