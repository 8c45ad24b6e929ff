//! What newcomers and operators ask, and what the member's map is told.

use std::sync::{Arc, Weak};

use batchkv_cluster::node::Owners;
use batchkv_protocol::operator::OperatorAnswer;
use batchkv_protocol::{Control, JoinAnswer, Ownership, ServerAddress};
use batchkv_store::Movable;
use tokio::runtime::Handle;

use super::Member;
use crate::desk::{Desk, Reply};
use crate::shared_map::SharedMap;

/// Answers questions through the member, in the runtime that it was made in.
pub(super) struct Reception<E: Movable> {
    member: Weak<Member<E>>,
    runtime: Handle,
}

impl<E: Movable> Reception<E> {
    pub(super) fn new(member: &Arc<Member<E>>) -> Self {
        Self {
            member: Arc::downgrade(member),
            runtime: Handle::current(),
        }
    }
}

impl<E: Movable> Desk for Reception<E> {
    fn ask(&self, question: Control, reply: Reply) {
        let member = self.member.upgrade();
        self.runtime.spawn(async move {
            let reason = || "the server stops".to_owned();
            reply(match (question, member) {
                (Control::JoinRequest(request), Some(member)) => {
                    Control::JoinAnswer(member.join(request).await)
                }
                (Control::JoinRequest(_), None) => {
                    Control::JoinAnswer(JoinAnswer::Wait { reason: reason() })
                }
                (Control::OperatorRequest(request), Some(member)) => {
                    Control::OperatorAnswer(member.operate(request).await)
                }
                // Nothing else is asked here.
                _ => Control::OperatorAnswer(OperatorAnswer::Refused { reason: reason() }),
            });
        });
    }
}

impl Owners for SharedMap {
    fn offer(&self, heard: &[(u32, Ownership)]) {
        SharedMap::offer(self, heard.iter().copied());
    }

    fn servers(&self, servers: Vec<ServerAddress>) {
        self.set_servers(servers);
    }
}
