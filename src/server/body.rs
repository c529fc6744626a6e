//! Body of the responses that the server writes to a connection.
//!
//! One named type: whole bodies of the gate's own stay unboxed, and bodies of apps stream.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, SizeHint};
use tower::BoxError;

use crate::edge;

/// Body that is written to a connection.
pub(super) enum ServerBody {
    /// All of a response of the gate's own.
    Whole(Full<Bytes>),
    /// Body of an app's response, as it comes.
    Streamed(UnsyncBoxBody<Bytes, BoxError>),
}

/// Response that is written to a connection.
pub(super) type ServerResponse = http::Response<ServerBody>;

/// Turns a response of the gate, whose body is whole, into one for the connection.
#[inline]
pub(super) fn from_gate(response: edge::Response) -> ServerResponse {
    response.map(ServerBody::Whole)
}

impl ServerBody {
    /// Returns `true` for the body of an app's response.
    pub(super) fn is_streamed(&self) -> bool {
        matches!(self, Self::Streamed(_))
    }
}

impl Default for ServerBody {
    fn default() -> Self {
        Self::Whole(Full::default())
    }
}

impl From<Bytes> for ServerBody {
    fn from(content: Bytes) -> Self {
        Self::Whole(Full::new(content))
    }
}

impl Body for ServerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(body) => {
                Pin::new(body).poll_frame(context).map(|frame| frame.map(|frame| frame.map_err(|never| match never {})))
            }
            Self::Streamed(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Streamed(body) => body.size_hint(),
        }
    }
}
