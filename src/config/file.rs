//! The content of a configuration file as types: one field for each section, defined by the module that uses it.
//!
//! Input: values that serde reads. Output: the [`Config`] that the stages receive.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Config, Limits};
use crate::serving::ModelOptions;
use crate::transport::{grpc, http, ingest};
use crate::{audio, batch, calls, evaluation, kafka, model, publish, security, vad, webhook, window};

/// Every section but `[model]`, which is either a table or a list of tables.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    audio: audio::Options,
    window: window::Options,
    vad: vad::Options,
    batch: batch::Options,
    engine: model::EngineOptions,
    grpc: grpc::Options,
    http: http::Options,
    tls: security::TlsOptions,
    auth: security::AuthOptions,
    pub kafka: kafka::Options,
    publish: publish::Options,
    evaluation: evaluation::Options,
    calls: calls::Options,
    webhook: webhook::Options,
    ingest: ingest::Options,
    privacy: ingest::PrivacyOptions,
    limits: Limits,
}

impl File {
    /// Returns the configuration with these models, of which there is at least one. The rules of alerts are added later.
    pub fn with_models(self, models: Vec<ModelOptions>) -> Config {
        let Self {
            audio,
            window,
            vad,
            batch,
            engine,
            grpc,
            http,
            tls,
            auth,
            kafka,
            publish,
            evaluation,
            calls,
            webhook,
            ingest,
            privacy,
            limits,
        } = self;
        let kafka = (!kafka.brokers.is_empty()).then_some(kafka);
        let models = models.into_iter().map(Into::into).collect();
        Config {
            models,
            audio,
            window,
            vad,
            batch,
            engine,
            grpc,
            http,
            tls,
            auth,
            kafka,
            publish,
            evaluation,
            calls,
            alerts: Vec::new(),
            webhook,
            ingest,
            privacy,
            limits,
        }
    }
}
