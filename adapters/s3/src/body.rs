//! The content of an object, in pieces, over as many connections as it takes.

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, ByteStreamError};
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, try_unfold};
use mini_platform_core::error::SourceError;
use tokio::time::timeout;

use crate::checksum::Checksum;
use crate::connect::S3Client;
use crate::error::Problem;
use crate::location::S3Location;
use crate::object::{ContentId, Object, content_id};

/// How many bytes a piece holds at most.
const PIECE_BYTES: usize = 256 * 1024;

/// How often a broken connection is made up for within one read: a gibibyte over a network that cuts every
/// connection after 64 MiB.
const MAX_RESUMES: u32 = 16;

/// An object on the way from its start to its end.
#[derive(Debug)]
pub(crate) struct Body {
    client: S3Client,
    location: S3Location,
    id: ContentId,
    announced: u64,
    received: u64,
    checksum: Option<Checksum>,
    stream: ByteStream,
    /// What came and was not handed out, since it was larger than a piece.
    rest: Bytes,
    resumes_left: u32,
    /// Whether the present connection brought anything.
    has_advanced: bool,
}

impl Body {
    pub(crate) fn new(client: S3Client, location: S3Location, object: Object, stream: ByteStream) -> Self {
        Self {
            client,
            location,
            id: object.id,
            announced: object.length,
            received: 0,
            checksum: object.checksum,
            stream,
            rest: Bytes::new(),
            resumes_left: MAX_RESUMES,
            has_advanced: false,
        }
    }

    /// Returns the content in pieces; what is not the content that was announced ends in an `Err`.
    pub(crate) fn into_stream(self) -> BoxStream<'static, Result<Bytes, SourceError>> {
        try_unfold(self, |mut body| async move {
            match body.next_piece().await {
                Ok(piece) => Ok(piece.map(|piece| (piece, body))),
                Err(problem) => Err(problem.at(&body.location.to_string())),
            }
        })
        .boxed()
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>, Problem> {
        while self.rest.is_empty() {
            match self.receive().await {
                Ok(Some(bytes)) => self.take(bytes)?,
                Ok(None) => return self.end(),
                Err(cut) => self.resume(cut).await?,
            }
        }
        Ok(Some(self.rest.split_to(self.rest.len().min(PIECE_BYTES))))
    }

    /// Waits for what comes next; `None` when all that was announced has come.
    async fn receive(&mut self) -> Result<Option<Bytes>, Problem> {
        match timeout(self.client.timeout(), self.stream.try_next()).await {
            Ok(Ok(Some(bytes))) => Ok(Some(bytes)),
            Ok(Ok(None)) if self.received == self.announced => Ok(None),
            Ok(Ok(None)) => Err(self.cut(None)),
            Ok(Err(cause)) => Err(self.cut(Some(cause))),
            Err(_) => Err(Problem::Stalled { received: self.received, announced: self.announced }),
        }
    }

    fn cut(&self, cause: Option<ByteStreamError>) -> Problem {
        let cause = cause.map(Into::into);
        Problem::Cut { received: self.received, announced: self.announced, cause }
    }

    fn take(&mut self, bytes: Bytes) -> Result<(), Problem> {
        self.received += bytes.len() as u64;
        if self.received > self.announced {
            return Err(Problem::TooLong { announced: self.announced });
        }
        if let Some(checksum) = &mut self.checksum {
            checksum.update(&bytes);
        }
        self.has_advanced |= !bytes.is_empty();
        self.rest = bytes;
        Ok(())
    }

    fn end(&mut self) -> Result<Option<Bytes>, Problem> {
        self.checksum.take().map_or(Ok(()), Checksum::check)?;
        Ok(None)
    }

    /// Asks for what is missing, of the very content that came so far; gives up when that cannot help.
    async fn resume(&mut self, cut: Problem) -> Result<(), Problem> {
        let can_be_pinned = !self.id.is_weak() || self.id.version().is_some();
        if !self.has_advanced || self.resumes_left == 0 || !can_be_pinned {
            return Err(cut);
        }
        tracing::warn!(
            source.place = %self.location,
            received_bytes = self.received,
            announced_bytes = self.announced,
            "the connection to the fraud source broke, and the rest is asked for"
        );
        self.resumes_left -= 1;
        self.has_advanced = false;
        // Closes the connection before there is another.
        self.stream = ByteStream::default();
        let request = self
            .client
            .get(&self.location)
            .range(format!("bytes={}-", self.received))
            .set_if_match(Some(self.id.header()).filter(|_| !self.id.is_weak()))
            .set_version_id(self.id.version().map(ToOwned::to_owned));
        let answer = Box::pin(request.send()).await.map_err(Problem::of)?;
        self.check_continues(&answer)?;
        self.stream = answer.body;
        Ok(())
    }

    /// Checks what not every server heeds: the condition and the range.
    fn check_continues(&self, answer: &GetObjectOutput) -> Result<(), Problem> {
        let now = content_id(answer).ok_or(Problem::Header("ETag"))?;
        if !now.has_content_of(&self.id) {
            return Err(Problem::Changed);
        }
        let (received, announced) = (self.received, self.announced);
        let expected = format!("bytes {received}-{}/{announced}", announced.saturating_sub(1));
        if answer.content_range() == Some(expected.as_str()) { Ok(()) } else { Err(Problem::WrongRange) }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::operation::get_object::builders::GetObjectOutputBuilder;
    use aws_sdk_s3::primitives::DateTime;
    use futures_util::TryStreamExt;

    use super::*;
    use crate::config::S3Config;

    #[tokio::test]
    async fn a_large_piece_of_the_driver_is_divided() {
        let config = S3Config::new("us-east-1").with_credentials("example", "geheim");
        let client = S3Client::connect(&config).await.unwrap();
        let content = vec![b'x'; 2 * PIECE_BYTES + 1];
        let head = GetObjectOutputBuilder::default().e_tag("\"a\"").last_modified(DateTime::from_secs(0));
        let head = head.content_length(i64::try_from(content.len()).unwrap());
        let object = Object::of(&head.build()).unwrap();
        let stream = ByteStream::from(content.clone());
        let body = Body::new(client, "s3://bucket/key".parse().unwrap(), object, stream);
        let pieces: Vec<Bytes> = body.into_stream().try_collect().await.unwrap();
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES));
        assert_eq!(pieces.concat(), content);
    }
}
