//! Bodies that come with requests. The problem: a body that nobody reads to its end (it is too large, or its sender is
//! not let in) is read on by the web server as long as it comes in pieces, which may be for ever. The server hangs up
//! instead where the body is still held when the answer is sent. So it is held.

use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    error::PayloadError,
    http::header,
};
use bytes::Bytes;
use futures_util::Stream;
use std::{
    cell::RefCell,
    error::Error,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

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

/// Lets go of it when the answer is sent.
pub fn until_answered(answer: ServiceResponse<BoxBody>, held: Option<Held>) -> ServiceResponse<BoxBody> {
    match held {
        Some(held) => answer.map_body(|_, body| BoxBody::new(Holding { body, _held: held })),
        None => answer,
    }
}

struct Holding {
    body: BoxBody,
    _held: Held,
}

impl MessageBody for Holding {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
