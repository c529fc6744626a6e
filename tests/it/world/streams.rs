//! What apps do beyond whole answers: they take uploads, send events and talk over sockets.

use std::{
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
};

use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper_util::rt::TokioIo;
use tokio::{
    io,
    sync::{Notify, mpsc},
};

use super::app::spawn;

/// The first event and the second one.
pub(crate) const EVENTS: [&str; 2] = ["data: first\n\n", "data: second\n\n"];

/// Uploads and events of an app.
#[derive(Default)]
pub(super) struct Streams {
    received: AtomicU64,
    second_event: Notify,
}

/// Body of an answer: whole, or chunk by chunk.
pub(super) enum AppBody {
    Whole(Option<Bytes>),
    Chunks(mpsc::Receiver<Bytes>),
}

impl Streams {
    /// Returns the number of bytes of all uploads so far.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Has the second event sent.
    pub(super) fn send_second_event(&self) {
        self.second_event.notify_one();
    }

    /// Reads an upload, and answers with its length.
    pub(super) async fn upload(&self, mut request: Request<Incoming>) -> Response<AppBody> {
        let mut length = 0;
        while let Some(frame) = request.body_mut().frame().await {
            let Some(data) = frame.ok().and_then(|frame| frame.into_data().ok()) else { continue };
            self.received.fetch_add(data.len() as u64, Ordering::Relaxed);
            length += data.len();
        }
        Response::new(AppBody::from(format!("received {length}\n")))
    }

    /// Sends the first event at once, the second one when the test says so.
    pub(super) async fn events(&self, chunks: mpsc::Sender<Bytes>) {
        let [first, second] = EVENTS.map(|event| Bytes::from_static(event.as_bytes()));
        let _ = chunks.send(first).await;
        self.second_event.notified().await;
        let _ = chunks.send(second).await;
    }
}

/// Accepts an upgrade and sends back whatever comes over the socket.
pub(super) fn socket(request: Request<Incoming>) -> Response<AppBody> {
    spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        let (mut reading, mut writing) = io::split(TokioIo::new(upgraded));
        let _ = io::copy(&mut reading, &mut writing).await;
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        // Of the key in RFC 6455, section 1.3.
        .header("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        .body(AppBody::from(""))
        .unwrap()
}

impl<T: Into<Bytes>> From<T> for AppBody {
    fn from(whole: T) -> Self {
        Self::Whole(Some(whole.into()))
    }
}

impl Body for AppBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(whole) => Poll::Ready(whole.take().map(|whole| Ok(Frame::data(whole)))),
            Self::Chunks(chunks) => chunks.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk)))),
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(whole) => hyper::body::SizeHint::with_exact(whole.as_ref().map_or(0, Bytes::len) as u64),
            Self::Chunks(_) => hyper::body::SizeHint::default(),
        }
    }
}
