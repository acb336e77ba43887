//! Admits a stream before its connection is upgraded.
//!
//! Input: the state of the daemon and the principal of a request. Output: where the stream enters the daemon and what it takes of the principal's
//! limits, or the text of the response.

use crate::security::{Principal, Quota, QuotaPermit};
use crate::session::Refusal;
use crate::stream::StreamCall;
use crate::telemetry::{excerpt, excerpt_of_list};
use crate::transport::http::{HttpSessions, State};

/// Whose stream it is, and its part of the limits of the principal.
pub(super) struct Owner {
    pub principal: Principal,
    pub permit: Option<QuotaPermit>,
}

/// Admits a stream of a principal before its connection is upgraded.
///
/// # Errors
/// The text of the response: the daemon is not ready, or a limit is reached.
pub(super) fn admit(state: &State, principal: Principal) -> Result<(HttpSessions, Owner), String> {
    let sessions = state.sessions.get().filter(|it| !it.links.draining.is_cancelled());
    let sessions = sessions.ok_or_else(|| format!("{}\n", state.readiness.status()))?;
    check_room(&sessions).map_err(|refusal| format!("{refusal}\n"))?;
    let permit = principal.quota.as_ref().map(Quota::open_stream).transpose();
    let permit = permit.map_err(|error| format!("{error}\n"))?;
    Ok((sessions, Owner { principal, permit }))
}

/// Refuses a stream that the limits do not allow: one of one channel that the default model analyses.
pub(super) fn check_room(sessions: &HttpSessions) -> Result<(), Refusal> {
    sessions.links.streams.check_room()?;
    let (registry, limit) = (sessions.links.registries.borrow(), sessions.links.max_utilization_percent);
    let model = registry.find("")?;
    let percent = registry.utilization_with(&model, 1) * 100.0;
    if percent > limit as f64 { Err(Refusal::Busy(limit)) } else { Ok(()) }
}

/// Logs that a stream has no channel that the model analyses, so that it has no event of an emotion. `names` is empty where the channels have none.
pub(super) fn note_unanalysed(call: &StreamCall, names: &[String]) {
    let is_analysed =
        if names.is_empty() { call.analyses("") } else { names.iter().any(|name| call.analyses(name)) };
    if !is_analysed {
        tracing::info!(
            call_id = %excerpt(&call.call_id),
            source = call.source,
            channels = %excerpt_of_list(names),
            analysed = %excerpt_of_list(&call.analysed),
            "no channel of the stream is analysed for emotions (ingest.analyse)"
        );
    }
}
