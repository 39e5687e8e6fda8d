//! The client that sources share.

use std::fmt;
use std::mem;
use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, ConfigBag, Credentials, IdentityCache, Intercept, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, RuntimeComponents, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::primitives::SdkBody;
use http_body_util::Limited;

use crate::config::S3Config;
use crate::error::ConfigError;
use crate::location::S3Location;

/// How long the environment may take to give credentials. A role's come over the network.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(15);

/// How much of an error page is read. The errors of S3 are shorter.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// A client of one S3 server, with one set of credentials. A clone shares its connections.
#[derive(Clone)]
pub struct S3Client {
    client: Client,
    timeout: Duration,
}

impl fmt::Debug for S3Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Client").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl S3Client {
    /// Makes a client. Sends nothing: whether the server is there and the credentials are right shows when a
    /// source is read.
    ///
    /// Without an access key in the configuration, credentials come from what Amazon's tools go by, in their order:
    /// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, the profile, a web identity (Kubernetes), the container's
    /// role, the machine's role.
    ///
    /// # Errors
    /// The configuration cannot be right.
    pub async fn connect(config: &S3Config) -> Result<Self, ConfigError> {
        config.check()?;
        let builder = builder(config);
        let builder = match config.credentials() {
            Some(key) => builder.credentials_provider(Credentials::new(
                &key.id,
                &key.secret,
                None,
                None,
                "configuration",
            )),
            None => {
                let chain = DefaultCredentialsChain::builder().region(region(config));
                builder.credentials_provider(Box::pin(chain.build()).await)
            }
        };
        Ok(Self { client: Client::from_conf(builder.build()), timeout: config.timeout() })
    }

    /// Starts a request for an object.
    pub(crate) fn get(&self, location: &S3Location) -> GetObjectFluentBuilder {
        self.client.get_object().bucket(location.bucket()).key(location.key())
    }

    /// Returns how long to wait for each piece of an answer.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }
}

fn region(config: &S3Config) -> Region {
    Region::new(config.region().to_owned())
}

/// Returns a configuration of the driver that lacks credentials only.
fn builder(config: &S3Config) -> Builder {
    let timeout = config.timeout();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(timeout)
        .read_timeout(timeout)
        .operation_timeout(timeout.saturating_mul(2).saturating_add(CREDENTIALS_TIMEOUT))
        .build();
    let mut builder = Builder::new()
        .behavior_version_latest()
        .region(region(config))
        .force_path_style(config.path_style())
        .timeout_config(timeouts)
        .identity_cache(IdentityCache::lazy().load_timeout(CREDENTIALS_TIMEOUT).build())
        // The feeder looks again, so the driver does not.
        .retry_config(RetryConfig::disabled())
        // The body has a timeout of its own, and a checksum that goes on when the connection breaks.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .interceptor(BoundedErrors);
    builder.set_endpoint_url(config.endpoint().map(ToOwned::to_owned));
    builder
}

/// Bounds what is read of an error page, which the driver takes into memory.
#[derive(Debug)]
struct BoundedErrors;

impl Intercept for BoundedErrors {
    fn name(&self) -> &'static str {
        "BoundedErrors"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        if !response.status().is_success() {
            let body = mem::replace(response.body_mut(), SdkBody::taken());
            *response.body_mut() = SdkBody::from_body_1_x(Limited::new(body, MAX_ERROR_BYTES));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::provider::error::CredentialsError;
    use aws_credential_types::provider::{ProvideCredentials, future};
    use mini_platform_core::error::{FaultKind, SourceError};
    use mini_platform_core::port::FraudSource;

    use super::*;
    use crate::fraud_source::S3Source;

    /// An environment without credentials.
    #[derive(Debug)]
    struct Nobody;

    impl ProvideCredentials for Nobody {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::ready(Err(CredentialsError::not_loaded_no_source()))
        }
    }

    #[tokio::test]
    async fn missing_credentials_say_what_to_set() {
        let config = S3Config::new("us-east-1").with_endpoint("http://127.0.0.1:9");
        let client = Client::from_conf(builder(&config).credentials_provider(Nobody).build());
        let client = S3Client { client, timeout: config.timeout() };
        let source = S3Source::new(&client, "s3://bucket/key".parse().unwrap());
        let error = source.fetch_if_changed(None).await.unwrap_err();
        let SourceError::Fault(fault) = &error else { panic!("{error:?}") };
        assert_eq!(fault.kind(), FaultKind::Denied, "{error:?}");
        let told = std::error::Error::source(fault).unwrap().to_string();
        assert!(told.contains("there are no credentials: set the access key"), "{told}");
    }

    #[tokio::test]
    async fn a_wrong_configuration_is_no_client() {
        let error = S3Client::connect(&S3Config::new("")).await.unwrap_err();
        assert_eq!(error, ConfigError::Region);
    }
}
