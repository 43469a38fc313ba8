//! Bodies that come with requests. The problem: where nobody reads a body to its end (it is too large, or its sender is
//! not let in) the web server reads on and throws away, for ever if it never ends. So it is held until the answer is on
//! its way; then a little more of it is taken, because a sender that is cut off while it sends may not see the answer, and
//! then the connection is closed.

use actix_web::{
    HttpMessage as _,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    error::PayloadError,
    http::header::{self, HeaderMap},
};
use bytes::Bytes;
use futures_util::Stream;
use std::{
    cell::RefCell,
    error::Error,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

/// A request's body, kept until it is answered.
#[derive(Clone)]
pub struct Held(Rc<RefCell<Payload>>);

impl Stream for Held {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(cx)
    }
}

/// Holds the request's body, if it has one.
pub fn hold(request: &mut ServiceRequest) -> Option<Held> {
    let headers = request.headers();
    if !headers.contains_key(header::TRANSFER_ENCODING) && !headers.contains_key(header::CONTENT_LENGTH) {
        return None;
    }
    let held = Held(Rc::new(RefCell::new(request.take_payload())));
    request.set_payload(Payload::Stream { payload: Box::pin(held.clone()) });
    Some(held)
}

/// Whether a request says that it has a body.
pub fn has_body(headers: &HeaderMap) -> bool {
    let empty = headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0");
    headers.contains_key(header::TRANSFER_ENCODING) || !empty
}

/// Closes the connection behind the answer if there is still much of the body to come.
pub fn until_answered(answer: ServiceResponse<BoxBody>, held: Option<Held>) -> ServiceResponse<BoxBody> {
    match held {
        Some(held) => answer.map_body(|_, body| BoxBody::new(Answered { body, held, rest: None })),
        None => answer,
    }
}

/// Bytes that are thrown away after the answer, and the time for them.
const REST: usize = 256 << 10;
const TIME: Duration = Duration::from_secs(2);

struct Answered {
    body: BoxBody,
    held: Held,
    /// Once the answer is sent: how much of the body may still come, and for how long.
    rest: Option<(usize, Pin<Box<Sleep>>)>,
}

impl MessageBody for Answered {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = &mut *self;
        if this.rest.is_none()
            && let Some(piece) = ready!(Pin::new(&mut this.body).poll_next(cx))
        {
            return Poll::Ready(Some(piece));
        }
        let (left, time) = this.rest.get_or_insert_with(|| (REST, Box::pin(sleep(TIME))));
        loop {
            match Pin::new(&mut this.held).poll_next(cx) {
                Poll::Ready(None | Some(Err(_))) => return Poll::Ready(None),
                Poll::Ready(Some(Ok(piece))) if piece.len() <= *left => *left -= piece.len(),
                Poll::Pending if time.as_mut().poll(cx).is_pending() => return Poll::Pending,
                // The answer is whole by its length; a failure is what closes a connection at once.
                Poll::Ready(Some(Ok(_))) | Poll::Pending => return Poll::Ready(Some(Err("the body goes on".into()))),
            }
        }
    }
}
