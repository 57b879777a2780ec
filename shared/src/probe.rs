//! Asks a process on this host whether it is ready, for images that have no tool for it.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// How long the connection may keep silent.
const LIMIT: Duration = Duration::from_secs(2);

/// Whether `/readyz` answers 200.
///
/// # Errors
/// If nobody answers at this port.
pub fn is_ready(port: u16) -> io::Result<bool> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    connection.set_read_timeout(Some(LIMIT))?;
    connection.set_write_timeout(Some(LIMIT))?;
    connection.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer.split(' ').nth(1) == Some("200"))
}
