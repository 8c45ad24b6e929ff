//! Something between client and server that sees every frame, and passes it on as it likes.

use std::io::{self, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// First byte of the body of a frame of answers, see `batchkv_protocol::frame`.
pub const TAG_ANSWER: u8 = 6;

/// Starts a proxy in front of `server` and gives its address. `pass` gets each frame, its length in front, and
/// the socket that it was for.
pub fn proxy(
    server: &str,
    pass: impl Fn(Vec<u8>, &TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = server.to_owned();
    let pass = Arc::new(pass);
    thread::spawn(move || {
        for near in listener.incoming() {
            let (near, far) = (near.unwrap(), TcpStream::connect(&server).unwrap());
            for (from, to) in [(&near, &far), (&far, &near)] {
                let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                to.set_nodelay(true).unwrap();
                let pass = Arc::clone(&pass);
                thread::spawn(move || {
                    // Either end may go away at any time.
                    let _ = forward(&from, &to, &*pass);
                    let _ = from.shutdown(Shutdown::Both);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    address
}

/// Passes frames on until one side ends.
fn forward(
    mut from: &TcpStream,
    to: &TcpStream,
    pass: impl Fn(Vec<u8>, &TcpStream) -> io::Result<()>,
) -> io::Result<()> {
    loop {
        let mut frame = vec![0; 4];
        from.read_exact(&mut frame)?;
        let body_bytes = u32::from_le_bytes(frame[..4].try_into().unwrap()) as usize;
        frame.resize(4 + body_bytes, 0);
        from.read_exact(&mut frame[4..])?;
        pass(frame, to)?;
    }
}

/// Whether a frame, its length in front, is one of answers.
pub fn is_answer(frame: &[u8]) -> bool {
    frame.get(4) == Some(&TAG_ANSWER)
}
