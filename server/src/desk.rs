//! What is asked of a server as a member of a cluster, beside operations.
//!
//! A session hands a question over; its connection reads on, and a further question waits until this one is answered.

use batchkv_protocol::{Control, Role};

/// Takes the answer to a question, on any thread.
pub type Reply = Box<dyn FnOnce(Control) + Send>;

/// Answers questions of newcomers and operators.
pub trait Desk: Send + Sync {
    /// Answers a question, now or later.
    fn ask(&self, question: Control, reply: Reply);
}

/// Whether whoever has this role may ask such a question.
pub(crate) fn may_ask(role: Role, question: &Control) -> bool {
    matches!(
        (role, question),
        (Role::Peer { .. }, Control::JoinRequest(_))
            | (Role::Operator, Control::OperatorRequest(_))
    )
}
