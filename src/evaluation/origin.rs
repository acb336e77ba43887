//! Where a window of a clip came from: whoever evaluates waits for its probabilities.
//!
//! In: the model's answer, once. Out: the same, to the clip that waits. Never publishes an event.

use tokio::sync::oneshot;

use crate::batch::Origin;
use crate::model::EngineError;

/// The way back to a clip under evaluation.
#[derive(Debug)]
pub struct ClipOrigin {
    reply: oneshot::Sender<Result<Vec<f32>, EngineError>>,
}

/// What a clip waits for: the probabilities of one window. Closed without an answer where the batcher has ended.
pub type ClipReply = oneshot::Receiver<Result<Vec<f32>, EngineError>>;

impl ClipOrigin {
    /// An origin and the end on which its answer comes.
    #[must_use]
    pub fn new() -> (Self, ClipReply) {
        let (reply, answer) = oneshot::channel();
        (Self { reply }, answer)
    }

    /// Hands the model's answer to the clip; a clip that is gone takes no notice.
    pub fn answer(self, probabilities: Result<Vec<f32>, EngineError>) {
        let _ = self.reply.send(probabilities);
    }
}

impl Origin for ClipOrigin {
    fn departed(&self) -> bool {
        self.reply.is_closed()
    }

    fn is_live(&self) -> bool {
        false
    }

    /// All clips together count as one stream: an evaluation never takes more than its turn.
    fn stream(&self) -> u64 {
        0
    }
}
