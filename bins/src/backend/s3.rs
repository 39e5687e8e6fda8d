//! S3, Amazon's or another's.

#[cfg(feature = "s3")]
mod adapter {
    use std::sync::Arc;

    use mini_platform_core::port::FraudSource;
    use mini_platform_s3::{S3Client, S3Location, S3Source};

    use crate::config::{Misconfigured, S3Config, Secret};

    pub(in crate::backend) struct Handle(S3Client);

    pub(in crate::backend) async fn open(config: &S3Config) -> anyhow::Result<Handle> {
        let mut settings = mini_platform_s3::S3Config::new(&config.region)
            .with_endpoint(config.endpoint.as_deref().unwrap_or_default())
            .with_path_style(config.force_path_style)
            .with_timeout(config.timeout);
        if let (Some(id), Some(secret)) = (&config.access_key_id, &config.secret_access_key) {
            settings = settings.with_credentials(id, Secret::expose(secret));
        }
        let client = S3Client::connect(&settings).await;
        Ok(Handle(client.map_err(|error| Misconfigured::new("s3", error))?))
    }

    impl Handle {
        pub(in crate::backend) fn source(
            &self,
            bucket: &str,
            key: &str,
        ) -> anyhow::Result<Arc<dyn FraudSource>> {
            let location =
                S3Location::new(bucket, key).map_err(|error| Misconfigured::new("feeder", error))?;
            Ok(Arc::new(S3Source::new(&self.0, location)))
        }
    }
}

#[cfg(not(feature = "s3"))]
mod adapter {
    use std::sync::Arc;

    use mini_platform_core::port::FraudSource;

    use super::super::NotBuiltIn;
    use crate::config::S3Config;

    pub(in crate::backend) enum Handle {}

    pub(in crate::backend) async fn open(_: &S3Config) -> anyhow::Result<Handle> {
        Err(NotBuiltIn("S3").into())
    }

    impl Handle {
        pub(in crate::backend) fn source(&self, _: &str, _: &str) -> anyhow::Result<Arc<dyn FraudSource>> {
            match *self {}
        }
    }
}

pub(super) use adapter::open;
