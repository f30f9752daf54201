//! A scripted HTTP/1.1 server on the loopback interface.
//!
//! It records every request and answers as told: with fixed replies in order, or with a function of the
//! request. A reply may be late, slow, cut off, reset or never come, which real servers do and mock libraries
//! built on a proper HTTP stack cannot.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The body, with any chunked framing removed.
    pub body: Vec<u8>,
}

impl Request {
    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The first value of a header, whose name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text, with anything that is not UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// How a reply ends before it is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The connection is closed in order.
    Close,
    /// The connection is reset.
    Reset,
}

/// What to answer.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    delay: Duration,
    trickle: Option<(usize, Duration)>,
    cut: Option<(usize, Cut)>,
    chunked: bool,
    never: bool,
}

impl Reply {
    /// A reply with this status and no body.
    pub const fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            delay: Duration::ZERO,
            trickle: None,
            cut: None,
            chunked: false,
            never: false,
        }
    }

    /// A JSON reply.
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        Self::status(status)
            .with_header("content-type", "application/json")
            .with_body(body.into())
    }

    /// A reply that does not come: the connection stays open and silent.
    pub const fn never() -> Self {
        let mut reply = Self::status(200);
        reply.never = true;
        reply
    }

    /// Adds a header. `content-length` replaces the one that would be written.
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_lowercase(), value.into()));
        self
    }

    /// Sets the body.
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Waits before the first byte.
    pub const fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sends `bytes` at a time with a pause after each.
    pub const fn trickling(mut self, bytes: usize, pause: Duration) -> Self {
        self.trickle = Some((bytes, pause));
        self
    }

    /// Closes the connection after `bytes` bytes of the whole reply, status line included.
    pub const fn cut_after(mut self, bytes: usize) -> Self {
        self.cut = Some((bytes, Cut::Close));
        self
    }

    /// Resets the connection after `bytes` bytes of the whole reply, status line included.
    pub const fn reset_after(mut self, bytes: usize) -> Self {
        self.cut = Some((bytes, Cut::Reset));
        self
    }

    /// Frames the body in chunks, as streamed answers are.
    pub const fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// The bytes of the whole reply. Useful to cut it everywhere.
    pub fn to_bytes(&self, head_only: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let bodyless = self.status == 204 || self.status == 304;
        if self.chunked {
            head.push_str("transfer-encoding: chunked\r\n");
        } else if !bodyless && !self.headers.iter().any(|(name, _)| name == "content-length") {
            let _ = write!(head, "content-length: {}\r\n", self.body.len());
        }
        head.push_str("\r\n");
        let mut out = head.into_bytes();
        if head_only || bodyless {
            return out;
        }
        if self.chunked {
            for chunk in self.body.chunks(1_000) {
                out.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                out.extend(chunk);
                out.extend(b"\r\n");
            }
            out.extend(b"0\r\n\r\n");
        } else {
            out.extend(&self.body);
        }
        out
    }
}

/// The phrase of the statuses that tests use.
const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        206 => "Partial Content",
        301 | 302 | 307 | 308 => "Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

type Handler = dyn Fn(usize, &Request) -> Reply + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    requests: Mutex<Vec<Request>>,
    open: AtomicUsize,
    accepted: AtomicUsize,
}

/// The server. Dropping it closes every connection.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    /// Answers with `replies` in order of arrival; a request too many gets a 500 that says so.
    pub async fn scripted(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies: Vec<Reply> = replies.into_iter().collect();
        Self::answering(move |number, _| {
            replies.get(number - 1).cloned().unwrap_or_else(|| {
                Reply::status(500)
                    .with_header("connection", "close")
                    .with_body(format!("request {number} is one too many for the script"))
            })
        })
        .await
    }

    /// Answers with a function of the request and its number, from 1.
    pub async fn answering(handler: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port on the loopback interface");
        let address = listener.local_addr().expect("the port just bound");
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            requests: Mutex::default(),
            open: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            accepting,
        }
    }

    /// Where the server listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:port` followed by `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Every request that arrived whole, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.shared
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Connections open now.
    pub fn open_connections(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Connections ever accepted.
    pub fn accepted_connections(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Owned here, so that aborting this task ends every connection.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let shared = Arc::clone(&shared);
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                connections.spawn(async move {
                    let _open = OpenConnection::new(&shared.open);
                    serve(stream, &shared).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

struct OpenConnection<'a>(&'a AtomicUsize);

impl<'a> OpenConnection<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Answers the requests of a connection until either side ends it.
async fn serve(mut stream: TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await {
        let number = {
            let mut requests = shared.requests.lock().unwrap_or_else(PoisonError::into_inner);
            requests.push(request.clone());
            requests.len()
        };
        let reply = (shared.handler)(number, &request);
        let wait = if reply.never {
            Duration::from_hours(24)
        } else {
            reply.delay
        };
        // A client that hangs up ends the wait, so that open connections mean work under way.
        if !wait.is_zero() && !idle(&mut stream, &mut buffer, wait).await {
            return;
        }
        if !send(&mut stream, &mut buffer, &reply, request.method == "HEAD").await {
            return;
        }
    }
}

/// Waits while watching the connection. False when the client has hung up.
async fn idle(stream: &mut TcpStream, buffer: &mut Vec<u8>, wait: Duration) -> bool {
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        match tokio::time::timeout_at(deadline, stream.read_buf(buffer)).await {
            Err(_) => return true,
            Ok(Ok(0) | Err(_)) => return false,
            Ok(Ok(_)) => {}
        }
    }
}

/// Sends a reply with its faults. False when the connection is over.
async fn send(stream: &mut TcpStream, buffer: &mut Vec<u8>, reply: &Reply, head_only: bool) -> bool {
    let mut bytes = reply.to_bytes(head_only);
    if let Some((length, _)) = reply.cut {
        bytes.truncate(length);
    }
    let (step, pause) = reply.trickle.unwrap_or((bytes.len().max(1), Duration::ZERO));
    for piece in bytes.chunks(step.max(1)) {
        if stream.write_all(piece).await.is_err() || stream.flush().await.is_err() {
            return false;
        }
        if !pause.is_zero() && !idle(stream, buffer, pause).await {
            return false;
        }
    }
    match reply.cut {
        None => !reply
            .headers
            .iter()
            .any(|(name, value)| name == "connection" && value == "close"),
        Some((_, Cut::Close)) => {
            let _ = stream.shutdown().await;
            false
        }
        Some((_, Cut::Reset)) => {
            // Closing with a zero linger sends RST instead of FIN.
            let _ = stream.set_zero_linger();
            false
        }
    }
}

/// The next request, or `None` at the end of the connection or of sense.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Request> {
    let end = loop {
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            break end;
        }
        more(stream, buffer).await?;
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_owned()))
        .collect();
    let mut request = Request {
        method,
        target,
        headers,
        body: Vec::new(),
    };
    if request
        .header("expect")
        .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.ok()?;
    }
    if request
        .header("transfer-encoding")
        .is_some_and(|value| value.contains("chunked"))
    {
        request.body = read_chunks(stream, buffer).await?;
    } else if let Some(length) = request.header("content-length") {
        let length = length.parse().ok()?;
        request.body = take(stream, buffer, length).await?;
    }
    Some(request)
}

async fn read_chunks(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = find(buffer, b"\r\n") {
                break end;
            }
            more(stream, buffer).await?;
        };
        let size = usize::from_str_radix(std::str::from_utf8(&buffer[..end]).ok()?.trim(), 16).ok()?;
        buffer.drain(..end + 2);
        let chunk = take(stream, buffer, size + 2).await?;
        if size == 0 {
            return Some(body);
        }
        body.extend(&chunk[..size]);
    }
}

async fn take(stream: &mut TcpStream, buffer: &mut Vec<u8>, length: usize) -> Option<Vec<u8>> {
    while buffer.len() < length {
        more(stream, buffer).await?;
    }
    Some(buffer.drain(..length).collect())
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    match stream.read_buf(buffer).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(()),
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn exchange(server: &Server, request: &str) -> (Vec<u8>, std::io::Result<()>) {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer).await.map(drop);
        (answer, end)
    }

    #[tokio::test]
    async fn records_requests_and_answers_in_order() {
        let server = Server::scripted([
            Reply::json(201, "{}"),
            Reply::status(204),
            Reply::status(200)
                .with_body("x".repeat(1_500))
                .chunked()
                .with_header("Connection", "close"),
        ])
        .await;
        let (answer, _) = exchange(
            &server,
            "POST /v1/a?b=c HTTP/1.1\r\nHost: h\r\nX-Key:  secret \r\nContent-Length: 5\r\n\r\nhello\
             PUT /two HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n\
             GET /three HTTP/1.1\r\n\r\n",
        )
        .await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK"), "{answer}");
        assert!(
            answer.contains("\r\n3e8\r\nx") && answer.ends_with("\r\n0\r\n\r\n"),
            "{answer}"
        );
        let requests = server.requests();
        assert_eq!(
            (requests[0].method.as_str(), requests[0].path()),
            ("POST", "/v1/a")
        );
        assert_eq!(
            (requests[0].header("x-key"), requests[0].text().as_str()),
            (Some("secret"), "hello")
        );
        assert_eq!(
            (requests[1].target.as_str(), requests[1].text().as_str()),
            ("/two", "abcde")
        );
        assert_eq!(requests.len(), 3);
        assert_eq!(server.accepted_connections(), 1);
        let (answer, _) = exchange(&server, "GET / HTTP/1.1\r\n\r\n").await;
        assert!(answer.ends_with(b"one too many for the script"));
    }

    #[tokio::test]
    async fn cuts_resets_and_trickles() {
        let body = Reply::json(200, "0123456789");
        let whole = body.to_bytes(false);
        let server = Server::scripted([
            body.clone().cut_after(20),
            body.clone().reset_after(20),
            body.clone()
                .trickling(7, Duration::from_millis(1))
                .with_header("connection", "close"),
            body.clone().cut_after(0),
        ])
        .await;
        let get = "GET / HTTP/1.1\r\n\r\n";
        let (answer, end) = exchange(&server, get).await;
        assert_eq!((answer, end.is_ok()), (whole[..20].to_vec(), true));
        let (_, end) = exchange(&server, get).await;
        assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        let (answer, _) = exchange(&server, get).await;
        assert!(answer.ends_with(b"0123456789"));
        let (answer, _) = exchange(&server, get).await;
        assert!(answer.is_empty());
    }

    #[tokio::test]
    async fn a_silent_reply_ends_when_the_client_leaves() {
        let server = Server::scripted([Reply::never()]).await;
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream
            .write_all(b"HEAD / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx")
            .await
            .unwrap();
        let mut line = [0; 12];
        stream.read_exact(&mut line).await.unwrap();
        assert_eq!(&line, b"HTTP/1.1 100");
        while server.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(server.open_connections(), 1);
        drop(stream);
        while server.open_connections() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(server.url("/x").starts_with("http://127.0.0.1:"));
    }

    #[tokio::test]
    async fn heads_have_no_body_and_functions_see_the_request() {
        let server = Server::answering(|number, request| {
            Reply::status(200)
                .with_header("connection", "close")
                .with_header("x-number", number.to_string())
                .with_body(request.target.clone())
                .after(Duration::from_millis(1))
        })
        .await;
        let (answer, _) = exchange(&server, "HEAD /long HTTP/1.1\r\n\r\n").await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(
            answer.ends_with("content-length: 5\r\n\r\n") && answer.contains("x-number: 1"),
            "{answer}"
        );
        let (answer, _) = exchange(&server, "GET /long HTTP/1.1\r\n\r\n").await;
        assert!(answer.ends_with(b"/long"));
    }
}
