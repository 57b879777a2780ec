//! A WebSocket client.

use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

use crate::{client::Client, wait};

pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    /// Opens `/ws` and waits for the `ready` frame.
    pub async fn open(client: &Client, user: &str, name: &str) -> anyhow::Result<Self> {
        let base = client.base.replacen("http", "ws", 1);
        let address = format!("{base}/ws?user_id={user}&client_id={name}");
        let (stream, _) = tokio_tungstenite::connect_async(address).await?;
        let mut socket = Self { stream };
        let first = socket.frame().await?;
        if first["type"] != "ready" {
            bail!("the first frame is {first}");
        }
        Ok(socket)
    }

    /// The next frame that is JSON.
    pub async fn frame(&mut self) -> anyhow::Result<Value> {
        loop {
            let message = tokio::time::timeout(wait::DEADLINE, self.stream.next()).await?;
            match message.context("the socket ended")?? {
                Message::Text(text) => return Ok(serde_json::from_str(&text)?),
                Message::Close(frame) => bail!("the socket was closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The next event, past any heartbeat.
    pub async fn event(&mut self) -> anyhow::Result<Value> {
        let next = async {
            loop {
                let frame = self.frame().await?;
                if frame["type"] != "heartbeat" {
                    return Ok(frame);
                }
            }
        };
        // Heartbeats come for ever.
        tokio::time::timeout(wait::DEADLINE, next).await.context("no event came")?
    }

    /// Waits until the server closes, and answers with the code.
    pub async fn closed(&mut self) -> anyhow::Result<u16> {
        let closing = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Close(Some(frame)))) => return Ok(frame.code.into()),
                    Some(Ok(_)) => {}
                    other => bail!("the socket ended without a code: {other:?}"),
                }
            }
        };
        tokio::time::timeout(wait::DEADLINE, closing).await.context("the server did not close")?
    }

    /// Whether no event comes for so long.
    pub async fn hears_nothing_for(&mut self, duration: Duration) -> bool {
        tokio::time::timeout(duration, self.event()).await.is_err()
    }
}
