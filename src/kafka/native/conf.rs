//! Options for librdkafka, and its error texts. The problem: a wrong option must be told by its name and never with its
//! value, which may be a secret.

use rdkafka::bindings as rd;
use std::{
    ffi::{CString, c_char},
    ptr::NonNull,
};

/// Why a client could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The text is librdkafka's; it never quotes the value.
    #[error("Kafka option {name}: {reason}")]
    Option { name: String, reason: String },
    #[error("Kafka client: {0}")]
    Create(String),
}

/// librdkafka's configuration, until a client takes it over.
pub(super) struct Conf(NonNull<rd::rd_kafka_conf_t>);

impl Conf {
    pub(super) fn new<'a>(options: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, ClientError> {
        // SAFETY: no arguments; the result is owned by us.
        let conf = unsafe { rd::rd_kafka_conf_new() };
        let conf = Self(NonNull::new(conf).ok_or_else(|| ClientError::Create("out of memory".into()))?);
        options.into_iter().try_for_each(|(name, value)| conf.set(name, value))?;
        Ok(conf)
    }

    fn set(&self, name: &str, value: &str) -> Result<(), ClientError> {
        let refused = |reason: String| ClientError::Option { name: name.to_owned(), reason };
        let (Ok(c_name), Ok(c_value)) = (CString::new(name), CString::new(value)) else {
            return Err(refused("contains a NUL byte".into()));
        };
        let mut text = ErrorText::new();
        // SAFETY: `self.0` is a live configuration, both strings end with NUL and live through the call (librdkafka
        // copies them), `text` has the length that is passed.
        let result = unsafe {
            rd::rd_kafka_conf_set(self.0.as_ptr(), c_name.as_ptr(), c_value.as_ptr(), text.place(), text.len())
        };
        match result {
            rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK => Ok(()),
            rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_UNKNOWN => Err(refused("there is no such option".into())),
            _ => Err(refused(text.to_text().replace(value, "..."))),
        }
    }
}

impl Conf {
    pub(super) fn as_ptr(&self) -> *mut rd::rd_kafka_conf_t {
        self.0.as_ptr()
    }
}

impl Drop for Conf {
    fn drop(&mut self) {
        // SAFETY: still owned by us: whoever hands it to librdkafka forgets this.
        unsafe { rd::rd_kafka_conf_destroy(self.0.as_ptr()) }
    }
}

/// Room for librdkafka's error texts.
pub(super) struct ErrorText([c_char; 512]);

impl ErrorText {
    pub(super) fn new() -> Self {
        Self([0; 512])
    }

    pub(super) fn place(&mut self) -> *mut c_char {
        self.0.as_mut_ptr()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn to_text(&self) -> String {
        let bytes: Vec<u8> = self.0.iter().take_while(|&&c| c != 0).map(|&c| c as u8).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
