//! The courier from core's side: it opens what it is handed and says nothing of it.

use std::sync::Arc;

use model::{Compartment, SealedRow};
use rpc::proto::courier_client::CourierClient;
use rpc::proto::{PushRequest, PushResult, PushTarget, Statement};
use tonic::transport::Channel;

use super::Core;
use crate::tell;

/// How many of each kind of row.
const MOST: usize = 50;

impl Core {
    pub(crate) async fn try_the_courier(self: Arc<Self>, channel: Channel) {
        let mut client = CourierClient::new(channel);
        let said = client.believe(Statement { signed: self.own_statement() }).await;
        let got = said.is_ok_and(|s| s.get_ref().refused.is_empty());
        tell::attempt("have the courier believe other keys", got, "the courier (the root key it pinned)");
        // What is sealed to others, under the names of what it opens.
        let others = self.loot.rows.iter().filter(|(_, r)| r.compartment != Compartment::Push).take(MOST);
        for (phone, row) in others {
            let named = |name: &str| {
                Some(rpc::row_to(SealedRow {
                    name: name.into(),
                    compartment: Compartment::Push,
                    ..row.clone()
                }))
            };
            let target =
                PushTarget { enrolment: phone.0.to_vec(), token: named("Token"), magic: named("PushMagic") };
            let Ok(reply) = client.push(PushRequest { targets: vec![target] }).await else { continue };
            let sent = reply.get_ref().outcomes.iter().any(|o| o.result == PushResult::Accepted as i32);
            tell::attempt("have the courier open what is not its own", sent, "the courier");
        }
    }
}
