//! The origin of a clip's window: an evaluation waits for its prediction.
//!
//! Input: the model's prediction, once. Output: the same, to the clip that waits. Invariant: no event is published for it.

use tokio::sync::oneshot;

use crate::batch::Origin;
use crate::model::{EngineError, Prediction};

/// The reply channel of one window of a clip.
#[derive(Debug)]
pub struct ReplyOrigin {
    reply: oneshot::Sender<Result<Prediction, EngineError>>,
}

/// What a clip waits for: the prediction for one window. Closed without one where the batcher has ended.
pub type ReplyReceiver = oneshot::Receiver<Result<Prediction, EngineError>>;

impl ReplyOrigin {
    /// Returns an origin and the receiver of its prediction.
    #[must_use]
    pub fn new() -> (Self, ReplyReceiver) {
        let (reply, answer) = oneshot::channel();
        (Self { reply }, answer)
    }

    /// Sends the model's prediction to the clip. It is dropped where the clip was given up.
    pub fn reply(self, prediction: Result<Prediction, EngineError>) {
        let _ = self.reply.send(prediction);
    }
}

impl Origin for ReplyOrigin {
    fn departed(&self) -> bool {
        self.reply.is_closed()
    }

    fn is_live(&self) -> bool {
        false
    }

    /// All clips together count as one stream, so that an evaluation takes one turn among the streams.
    fn stream(&self) -> u64 {
        0
    }
}
