//! The fraud source in an object.

use async_trait::async_trait;
use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use mini_platform_core::domain::ListVersion;
use mini_platform_core::error::SourceError;
use mini_platform_core::port::{Fetched, FraudSource, RawList};

use crate::body::Body;
use crate::connect::S3Client;
use crate::error::Problem;
use crate::location::S3Location;
use crate::object::{ContentId, Object};

const NOT_MODIFIED: u16 = 304;

/// A [`FraudSource`] in an object on S3: published when it was uploaded, told apart by its ETag.
#[derive(Debug, Clone)]
pub struct S3Source {
    client: S3Client,
    location: S3Location,
}

impl S3Source {
    /// Makes a source of an object, which need not exist yet.
    #[must_use]
    pub fn new(client: &S3Client, location: S3Location) -> Self {
        Self { client: client.clone(), location }
    }

    /// Asks for the object; `None` when its content is that of `known`.
    async fn get(&self, known: Option<&ContentId>) -> Result<Option<GetObjectOutput>, Problem> {
        let request = self.client.get(&self.location).set_if_none_match(known.map(ContentId::header));
        match Box::pin(request.customize().mutate_request(ask_for_checksum).send()).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if known.is_some() && is_not_modified(&error) => Ok(None),
            Err(error) => Err(Problem::of(error)),
        }
    }
}

#[async_trait]
impl FraudSource for S3Source {
    fn place(&self) -> String {
        self.location.to_string()
    }

    async fn fetch_if_changed(&self, since: Option<ListVersion>) -> Result<Fetched, SourceError> {
        let failed = |problem: Problem| problem.at(&self.place());
        let known = since.as_ref().map(|since| ContentId::from_text(since.etag()));
        let Some(answer) = self.get(known.as_ref()).await.map_err(failed)? else {
            return Ok(Fetched::NotModified);
        };
        let object = Object::of(&answer).map_err(failed)?;
        // Not every server knows conditions.
        if known.is_some_and(|known| known.has_content_of(&object.id)) {
            return Ok(Fetched::NotModified);
        }
        let version = object.version(since.as_ref()).map_err(failed)?;
        let announced_bytes = Some(object.length);
        let body = Body::new(self.client.clone(), self.location.clone(), object, answer.body);
        Ok(Fetched::Changed(RawList { version, announced_bytes, bytes: body.into_stream() }))
    }
}

/// Asks for the checksum that was made at the upload, without leaving its check to the driver, which would lose
/// it when the connection breaks.
fn ask_for_checksum(request: &mut HttpRequest) {
    request.headers_mut().insert("x-amz-checksum-mode", "ENABLED");
}

fn is_not_modified(error: &SdkError<GetObjectError, HttpResponse>) -> bool {
    error.raw_response().is_some_and(|response| response.status().as_u16() == NOT_MODIFIED)
}
