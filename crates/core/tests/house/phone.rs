//! A phone, as the door and the reader would pass it on.

use model::{CommandId, Compartment, EnrolmentId};
use prost::Message;
use rpc::proto::core_reply::Answer;
use rpc::proto::core_request::What;
use rpc::proto::observed::What as Said;
use rpc::proto::{self, CoreReply, CoreRequest, Observed, ReportStatus};

use super::House;
use super::vault::sealed;

#[derive(Clone)]
pub struct Phone {
    pub enrolment: EnrolmentId,
    pub tag: Vec<u8>,
}

impl Phone {
    pub fn of(enrolment: EnrolmentId) -> Self {
        Self { enrolment, tag: enrolment.0.to_vec() }
    }
}

pub fn clear(name: &str, value: &str) -> proto::ClearField {
    proto::ClearField { name: name.into(), value: value.into() }
}

/// A DeviceInformation report; `n` makes its number and its change tag.
pub fn information(n: u8) -> proto::ReportContent {
    proto::ReportContent {
        kind: "DeviceInformation".into(),
        change_tag: vec![n; 16],
        clear: vec![
            clear("OSVersion", "\"17.5\""),
            clear("ProductName", "\"iPhone14,5\""),
            clear("IsSupervised", "false"),
        ],
        sealed: vec![
            rpc::row_to(sealed("PhoneNumber", Compartment::Contact, &format!("+4477009001{n:02}"))),
            rpc::row_to(sealed("SerialNumber", Compartment::Hardware, "F2LMADEUP01")),
        ],
        apps: vec![],
    }
}

impl House {
    pub async fn ask_core(&self, enrolment: &[u8], what: What) -> Answer {
        let reply: CoreReply = self
            .calls
            .call(|call| CoreRequest {
                call,
                enrolment: enrolment.to_vec().into(),
                what: Some(what),
                ..CoreRequest::default()
            })
            .await
            .unwrap();
        reply.answer.unwrap()
    }

    pub async fn says(&self, phone: &Phone, said: Said) -> Answer {
        let observed = Observed { udid_tag: phone.tag.clone(), what: Some(said), ..Observed::default() };
        self.ask_core(&phone.enrolment.0, What::Observed(observed.encode_to_vec().into())).await
    }

    pub async fn reports(
        &self,
        phone: &Phone,
        status: ReportStatus,
        command: Option<CommandId>,
        content: Option<proto::ReportContent>,
    ) -> Answer {
        let errors = if status == ReportStatus::Error {
            vec![proto::ErrorLink { code: 12021, domain: "MCMDMErrorDomain".into() }]
        } else {
            vec![]
        };
        let command = command.map(|c| c.0.to_vec()).unwrap_or_default();
        let report = proto::Report { status: status as i32, command, errors, content };
        self.says(phone, Said::Report(report)).await
    }

    pub async fn idle(&self, phone: &Phone) -> Answer {
        self.reports(phone, ReportStatus::Idle, None, None).await
    }

    pub async fn acknowledges(&self, phone: &Phone, command: CommandId) -> Answer {
        self.reports(phone, ReportStatus::Acknowledged, Some(command), None).await
    }

    pub async fn scep(&self, enrolment: EnrolmentId) -> Answer {
        self.ask_core(&[], What::Scep(enrolment.0.to_vec().into())).await
    }

    pub async fn authenticates(&self, phone: &Phone) -> Answer {
        let said = proto::Authenticate {
            topic: "com.apple.mgmt.External.example".into(),
            clear: vec![clear("OSVersion", "\"17.4\"")],
            sealed: vec![rpc::row_to(sealed("IMEI", Compartment::Hardware, "490154203237518"))],
        };
        self.says(phone, Said::Authenticate(said)).await
    }

    pub async fn updates_token(&self, phone: &Phone, unlock: bool) -> Answer {
        let mut rows = vec![
            rpc::row_to(sealed("Token", Compartment::Push, "token")),
            rpc::row_to(sealed("PushMagic", Compartment::Push, "magic")),
        ];
        if unlock {
            rows.push(rpc::row_to(sealed("UnlockToken", Compartment::Escrow, "unlock")));
        }
        let said = proto::TokenUpdate {
            topic: "com.apple.mgmt.External.example".into(),
            awaiting_configuration: false,
            sealed: rows,
            clear: vec![],
        };
        self.says(phone, Said::TokenUpdate(said)).await
    }

    /// From the invitation to an enrolled phone with its first inventory answered.
    pub async fn enrol(&self, n: u8) -> Phone {
        self.enrol_saying(n, information(n)).await
    }

    /// The same, of a phone that says this of itself.
    pub async fn enrol_saying(&self, n: u8, information: proto::ReportContent) -> Phone {
        let phone = Phone::of(self.invite(n).await);
        assert!(matches!(self.scep(phone.enrolment).await, Answer::ScepIssued(_)));
        assert_eq!(self.authenticates(&phone).await, Answer::Plain(200));
        assert_eq!(self.updates_token(&phone, true).await, Answer::Plain(200));
        let mut next = self.idle(&phone).await;
        let mut asked = vec![];
        while let Answer::Free(free) = next {
            asked.push(free.query);
            let content = (free.query == 1).then(|| information.clone());
            let command = rpc::command_id(&free.command).ok();
            next = self.reports(&phone, ReportStatus::Acknowledged, command, content).await;
        }
        assert_eq!(next, Answer::Plain(200));
        assert!(asked.starts_with(&[1, 2, 3, 5, 6]), "the first inventory: {asked:?}");
        phone
    }
}
