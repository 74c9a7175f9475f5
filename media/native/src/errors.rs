//! Every error that leaves the core, and the one place where they become classes of `media.errors`.
//!
//! `ValueError` is kept for arguments that no state of the core could make right (an unknown key, a short key).

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoreError {
    UnknownId(String),
    DuplicateId(String),
    Refused(String),
    Failed(String),
    BadArgument(String),
}

impl CoreError {
    /// The class of `media.errors`; None: `ValueError`.
    #[cfg(feature = "python")]
    fn class_name(&self) -> Option<&'static str> {
        match self {
            Self::UnknownId(_) => Some("UnknownId"),
            Self::DuplicateId(_) => Some("DuplicateId"),
            Self::Refused(_) => Some("Refused"),
            Self::Failed(_) => Some("CoreFailed"),
            Self::BadArgument(_) => None,
        }
    }

    fn message(&self) -> &str {
        match self {
            Self::UnknownId(text)
            | Self::DuplicateId(text)
            | Self::Refused(text)
            | Self::Failed(text)
            | Self::BadArgument(text) => text,
        }
    }
}

impl std::fmt::Display for CoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for CoreError {}

/// The text of a caught panic.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a message".to_owned())
}

#[cfg(feature = "python")]
pub(crate) mod python {
    use pyo3::exceptions::PyValueError;
    use pyo3::prelude::*;
    use pyo3::types::PyType;

    use super::CoreError;

    /// To be called with the GIL held, after the work that failed.
    pub(crate) fn raise(py: Python<'_>, error: &CoreError) -> PyErr {
        let Some(name) = error.class_name() else {
            return PyValueError::new_err(error.message().to_owned());
        };
        let class = py.import("media.errors").and_then(|module| module.getattr(name));
        match class.and_then(|class| Ok(class.downcast_into::<PyType>()?)) {
            Ok(class) => PyErr::from_type(class, error.message().to_owned()),
            Err(missing) => missing,
        }
    }
}
