//! Carries the courier's questions about a certificate by ACME to the door, and the door's answers back.
//! Core decides nothing here: what it changed would not fit, what it withholds is tried again.

use std::sync::Arc;
use std::time::Duration;

use rpc::proto::door_client::DoorClient;
use rpc::proto::{AcmeAnswer, AcmeAsk};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::room::{Room, asked};

/// How long the door may take for a step: it makes keys and writes files.
const PATIENCE: Duration = Duration::from_secs(10);

/// Carries for as long as the room runs, on a fresh stream for each fresh pair.
pub(crate) async fn carry(room: Arc<Room>) {
    let mut couriers = room.courier.changes();
    loop {
        let courier = couriers.borrow_and_update().clone();
        if let Some(channel) = courier {
            carry_until_it_ends(&room, channel).await;
        }
        // A courier without ACME ends the stream at once, and there is nothing to carry until another comes.
        if couriers.changed().await.is_err() {
            return;
        }
    }
}

async fn carry_until_it_ends(room: &Arc<Room>, channel: Channel) {
    let (tx, rx) = mpsc::channel(4);
    let mut courier = rpc::proto::courier_client::CourierClient::new(channel);
    let Ok(asks) = courier.acme(ReceiverStream::new(rx)).await else { return };
    let mut asks = asks.into_inner();
    while let Some(Ok(ask)) = asks.next().await {
        if tx.send(answer(room, ask).await).await.is_err() {
            return;
        }
    }
}

async fn answer(room: &Arc<Room>, ask: AcmeAsk) -> AcmeAnswer {
    let call = ask.call;
    let answered = async {
        let mut door = DoorClient::new(room.door.channel(Duration::from_secs(2)).await?);
        asked("acme", PATIENCE, door.acme(ask)).await
    };
    match answered.await {
        Ok(answer) => AcmeAnswer { call, ..answer },
        Err(_) => AcmeAnswer { call, away: true, ..AcmeAnswer::default() },
    }
}
