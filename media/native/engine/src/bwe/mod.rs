//! What a subscriber's path carries (Google congestion control, draft-ietf-rmcat-gcc-02), from feedback to one number:
//!
//! ```text
//!  feedback ─▶ history ─▶ arrival ─▶ trendline ─▶ aimd ─┐
//!                 │                     acked ───▶──────┤ estimator ─▶ bits/s, and whether it is a limit
//!                 ├─▶ probe (what a burst of padding found)
//!                 └─▶ loss (also fed by receiver reports) ┘
//! ```
//!
//! Pure arithmetic on feedback: must not send, nor know slots.

pub(crate) mod acked;
pub(crate) mod aimd;
pub(crate) mod arrival;
pub(crate) mod estimator;
pub(crate) mod history;
pub(crate) mod loss;
pub(crate) mod probe;
pub(crate) mod trendline;
