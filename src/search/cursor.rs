//! Where a page of hits ended, as text for the next one. The problem: it comes back from outside, perhaps with another
//! order than it was made in, and must not be able to do more than be refused.

use super::model::{Order, SearchError};
use serde_json::Value;

fn letter(order: Order) -> char {
    match order {
        Order::NewestFirst => 'n',
        Order::OldestFirst => 'o',
    }
}

/// Of the values by which the hit is sorted.
pub fn write(order: Order, values: &[Value]) -> String {
    format!("{}{}", letter(order), Value::from(values))
}

/// The values of a cursor of this order.
///
/// # Errors
/// It is none.
pub fn read(order: Order, cursor: &str) -> Result<Vec<Value>, SearchError> {
    let values = cursor.strip_prefix(letter(order)).and_then(|json| serde_json::from_str::<Vec<Value>>(json).ok());
    let plain = |value: &Value| !(value.is_array() || value.is_object());
    values.filter(|values| values.iter().all(plain)).ok_or_else(|| {
        SearchError::Refused("`after` is no cursor of a page in this order; begin at the first page again".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_good_for_its_order_only() {
        let values = [5.into(), "a\"b".into(), Value::Null];
        let cursor = write(Order::NewestFirst, &values);
        assert_eq!(read(Order::NewestFirst, &cursor), Ok(values.to_vec()));
        for wrong in [cursor.replacen('n', "o", 1), String::new(), "n".into(), "n{}".into(), "n[[1]]".into()] {
            assert!(matches!(read(Order::NewestFirst, &wrong), Err(SearchError::Refused(_))), "{wrong}");
        }
    }
}
