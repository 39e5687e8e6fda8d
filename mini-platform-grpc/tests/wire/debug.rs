//! Logging a message gives nobody away.

use crate::schema::{SECRET, all_types};

#[test]
fn debug_output_of_a_message_shows_no_name_and_no_token() {
    for message in all_types() {
        for shown in message.debug_forms() {
            assert!(!shown.contains(SECRET), "{}: {shown}", message.name());
        }
    }
}
