//! The origin of a clip's window: the channel through which its probabilities return to the evaluator.
//!
//! Input: the result of inference, once. Output: the same result, to the evaluator that waits for it.

use tokio::sync::oneshot;

use crate::batch::Origin;
use crate::model::EngineError;

/// The reply channel of one window of a clip.
#[derive(Debug)]
pub struct ReplyOrigin {
    reply: oneshot::Sender<Result<Vec<f32>, EngineError>>,
}

/// The receiver of the probabilities of one window. It is closed without a value where the batcher has ended.
pub type ReplyReceiver = oneshot::Receiver<Result<Vec<f32>, EngineError>>;

impl ReplyOrigin {
    /// Creates an origin and the receiver of its result.
    #[must_use]
    pub fn new() -> (Self, ReplyReceiver) {
        let (reply, answer) = oneshot::channel();
        (Self { reply }, answer)
    }

    /// Sends the result of inference to the evaluator. The result is dropped where the evaluator has stopped waiting.
    pub fn reply(self, probabilities: Result<Vec<f32>, EngineError>) {
        let _ = self.reply.send(probabilities);
    }
}

impl Origin for ReplyOrigin {
    fn departed(&self) -> bool {
        self.reply.is_closed()
    }

    fn is_live(&self) -> bool {
        false
    }

    /// Returns the same stream number for all clips, so that the batcher's fair queue treats an evaluation as one stream.
    fn stream(&self) -> u64 {
        0
    }
}
