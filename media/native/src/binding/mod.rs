//! What Python sees of the core: `media._forwarder`, by the contract of `media/_forwarder.pyi`.
//!
//! Thin: arguments become plain Rust values with the GIL held, the work happens with the GIL released and behind
//! `catch_unwind`, errors are mapped once. No thread of ours ever attaches to Python.

mod answers;
mod arguments;
mod load;
mod node;

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::errors::{panic_message, python, CoreError};

/// Runs `work` without the GIL; a panic becomes `CoreFailed`.
fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T, CoreError> + Send) -> PyResult<T> {
    let guarded = || {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
            .unwrap_or_else(|payload| Err(CoreError::Failed(panic_message(&*payload))))
    };
    py.detach(guarded).map_err(|error| python::raise(py, &error))
}

fn build_info() -> String {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    format!(
        "holdspace-forwarder {}, {}, {profile}, {}",
        env!("CARGO_PKG_VERSION"),
        env!("HOLDSPACE_RUSTC_VERSION"),
        target_features().join(" "),
    )
}

/// What the packet path can use on this machine.
fn target_features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("aes", std::arch::is_x86_feature_detected!("aes")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("vaes", std::arch::is_x86_feature_detected!("vaes")),
        ("sha", std::arch::is_x86_feature_detected!("sha")),
    ];
    #[cfg(target_arch = "aarch64")]
    let found = [
        ("aes", std::arch::is_aarch64_feature_detected!("aes")),
        ("sha2", std::arch::is_aarch64_feature_detected!("sha2")),
    ];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found: [(&str, bool); 0] = [];
    found.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}

/// The stub's type aliases, so that annotations can be evaluated.
fn add_aliases(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let typing = py.import("typing")?;
    let (literal, union) = (typing.getattr("Literal")?, typing.getattr("Union")?);
    let one_of = |words: &[&str]| {
        let each: Vec<_> = words.iter().map(|word| literal.get_item(word)).collect::<PyResult<_>>()?;
        union.get_item(PyTuple::new(py, each)?)
    };
    module.add("Kind", one_of(&["audio", "video"])?)?;
    let profiles = ["AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_80"];
    module.add("SrtpProfile", one_of(&profiles)?)?;
    let builtins = py.import("builtins")?;
    let any_length = (builtins.getattr("object")?, builtins.getattr("Ellipsis")?);
    module.add("Event", builtins.getattr("tuple")?.get_item(any_length)?)
}

#[pymodule]
fn _forwarder(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("BUILD_INFO", build_info())?;
    module.add_class::<node::Node>()?;
    module.add_class::<load::LoadGenerator>()?;
    module.add_class::<load::Reflector>()?;
    module.add_function(wrap_pyfunction!(load::run_limit, module)?)?;
    add_aliases(module)?;
    module.delattr("__all__") // PyO3 makes one; the stub says what there is
}
