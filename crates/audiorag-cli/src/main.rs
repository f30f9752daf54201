//! The `audiorag` program.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod allocator;

use audiorag::settings::Sources;
use audiorag_cli::{ExitStatus, Interrupt, Io, run};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    // Where it is refused, the process takes more memory and does the same.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    let _ = allocator::return_large_blocks();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    let sources = match Sources::from_process() {
        Ok(sources) => sources,
        Err(error) => return fail(&error.report()),
    };
    let io = Io::process();
    let interrupt = io.interrupt.clone();
    let status = runtime.block_on(async {
        listen(&interrupt);
        run(std::env::args_os().collect(), sources, io).await
    });
    // A thread that waits for standard input or inside a model cannot be stopped, and need not be.
    runtime.shutdown_timeout(Duration::from_millis(100));
    ExitCode::from(
        interrupt
            .status()
            .filter(|_| status != ExitStatus::Success)
            .unwrap_or(status)
            .code(),
    )
}

/// Turns the first signal into a request to end, and the second one into the end. From its return on no signal is
/// missed, however close it follows another one.
fn listen(interrupt: &Interrupt) {
    let end = |interrupt: &Interrupt, status: ExitStatus| {
        if !interrupt.request(status) {
            #[expect(clippy::exit, reason = "a second signal ends the program at once")]
            std::process::exit(i32::from(interrupt.status().unwrap_or(status).code()));
        }
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        for (kind, status) in [
            (SignalKind::interrupt(), ExitStatus::Interrupted),
            (SignalKind::terminate(), ExitStatus::Terminated),
        ] {
            let Ok(mut signals) = signal(kind) else { continue };
            let interrupt = interrupt.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    end(&interrupt, status);
                }
            });
        }
    }
    #[cfg(not(unix))]
    {
        let interrupt = interrupt.clone();
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                end(&interrupt, ExitStatus::Interrupted);
            }
        });
    }
}

#[expect(clippy::print_stderr, reason = "there is no printer yet")]
fn fail(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(ExitStatus::State.code())
}
