//! What embedders and rerankers have in common: answers that name places in the request.

use audiorag_core::capability::Ranked;
use audiorag_core::model::EmbeddingSpace;
use audiorag_core::{Error, Result};

/// A model whose vectors are known: its name, how long they are unless asked otherwise, and the lengths it can give.
pub(crate) type Sizes = (&'static str, usize, &'static [usize]);

/// How long the vectors of a model are, and whether the vendor has to be told.
///
/// # Errors
/// [`Config`](audiorag_core::ErrorKind::Config) when the model cannot give as many components as were asked for, or
/// when nobody knows how many it gives.
pub(crate) fn dimensions(model: &str, asked: Option<usize>, known: &[Sizes]) -> Result<(usize, bool)> {
    match (known.iter().find(|(name, _, _)| *name == model), asked) {
        (Some((_, default, sizes)), None) => Ok((*default, sizes.len() > 1)),
        (Some((_, _, sizes)), Some(asked)) if sizes.contains(&asked) => Ok((asked, sizes.len() > 1)),
        (Some((_, _, sizes)), Some(asked)) => {
            let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
            Err(
                Error::config(format!("{model} does not give {asked} dimensions")).with_hint(format!(
                    "set AUDIORAG_EMBEDDING_DIMENSIONS to {}",
                    sizes.join(", ")
                )),
            )
        }
        (None, Some(asked)) => Ok((asked, true)),
        (None, None) => Err(Error::config(format!(
            "how many dimensions the vectors of {model} have is not known"
        ))
        .with_hint("set AUDIORAG_EMBEDDING_DIMENSIONS to the number that the vendor documents")),
    }
}

/// Refuses more texts than a call takes.
///
/// # Errors
/// [`Input`](audiorag_core::ErrorKind::Input), which is the caller's mistake.
pub(crate) fn check_count(what: &str, count: usize, most: usize) -> Result<()> {
    if count > most {
        return Err(Error::input(format!(
            "{count} {what} in a call of at most {most}"
        )));
    }
    Ok(())
}

/// Vectors in the order of the texts, checked and of unit length.
///
/// # Errors
/// [`Protocol`](audiorag_core::ErrorKind::Protocol) when there is not exactly one sound vector for each text.
pub(crate) fn placed(
    mut vectors: Vec<(usize, Vec<f32>)>,
    count: usize,
    space: &EmbeddingSpace,
) -> Result<Vec<Vec<f32>>> {
    vectors.sort_by_key(|(index, _)| *index);
    if !vectors.iter().map(|(index, _)| *index).eq(0..count) {
        return Err(Error::protocol(format!(
            "{} does not answer with one vector for each text",
            space.model
        ))
        .with_context("texts", count)
        .with_context("vectors", vectors.len()));
    }
    vectors
        .into_iter()
        .map(|(_, mut vector)| space.normalize(&mut vector).map(|()| vector))
        .collect()
}

/// The places of the documents that have something to rank. Vendors refuse texts without a letter.
pub(crate) fn worth_ranking(documents: &[String]) -> Vec<usize> {
    let has_text = |index: &usize| documents.get(*index).is_some_and(|text| !text.trim().is_empty());
    (0..documents.len()).filter(has_text).collect()
}

/// Scores best first, at the places of the request. `sent` are the documents the vendor was given, of which it was
/// asked for the best `top_n`.
///
/// # Errors
/// [`Protocol`](audiorag_core::ErrorKind::Protocol) when documents are missing, named twice or were never given, or
/// a score is no number.
pub(crate) fn ranked(scores: &[(usize, f32)], sent: &[usize], top_n: usize) -> Result<Vec<Ranked>> {
    let wrong = |what: &str| Error::protocol(format!("the reranker answers with {what}"));
    let mut ranked: Vec<Ranked> = Vec::with_capacity(scores.len());
    for (place, score) in scores {
        let index = *sent
            .get(*place)
            .ok_or_else(|| wrong("a document that was not given"))?;
        if !score.is_finite() {
            return Err(wrong("a score that is no number"));
        }
        if ranked.iter().any(|known| known.index == index) {
            return Err(wrong("a document twice"));
        }
        ranked.push(Ranked { index, score: *score });
    }
    if ranked.len() < top_n.min(sent.len()) {
        return Err(wrong("fewer documents than were asked for"));
    }
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
    ranked.truncate(top_n);
    Ok(ranked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiorag_core::ErrorKind;

    const KNOWN: &[Sizes] = &[("flexible", 3, &[2, 3]), ("fixed", 4, &[4])];

    #[test]
    fn dimensions_come_from_the_table_or_the_user() {
        assert_eq!(dimensions("flexible", None, KNOWN).unwrap(), (3, true));
        assert_eq!(dimensions("flexible", Some(2), KNOWN).unwrap(), (2, true));
        assert_eq!(dimensions("fixed", None, KNOWN).unwrap(), (4, false));
        assert_eq!(dimensions("new", Some(9), KNOWN).unwrap(), (9, true));
        for (model, asked) in [("flexible", Some(9)), ("fixed", Some(2)), ("new", None)] {
            let error = dimensions(model, asked, KNOWN).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(
                error.hint().unwrap().contains("AUDIORAG_EMBEDDING_DIMENSIONS"),
                "{model}"
            );
        }
    }

    #[test]
    fn vectors_return_to_their_texts() {
        let space = EmbeddingSpace {
            provider: "x".into(),
            model: "m".into(),
            dimensions: 2,
        };
        let good = placed(vec![(1, vec![0.0, 2.0]), (0, vec![3.0, 0.0])], 2, &space).unwrap();
        assert_eq!(good, [[1.0, 0.0], [0.0, 1.0]]);
        let bad: [Vec<(usize, Vec<f32>)>; 6] = [
            vec![(0, vec![1.0, 0.0])],
            vec![(0, vec![1.0, 0.0]), (0, vec![1.0, 0.0])],
            vec![(0, vec![1.0, 0.0]), (2, vec![1.0, 0.0])],
            vec![(0, vec![1.0, 0.0]), (1, vec![1.0])],
            vec![(0, vec![1.0, 0.0]), (1, vec![0.0, 0.0])],
            vec![(0, vec![1.0, 0.0]), (1, vec![f32::INFINITY, 0.0])],
        ];
        for vectors in bad {
            let error = placed(vectors, 2, &space).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        }
    }

    #[test]
    fn scores_return_to_their_documents() {
        let documents: Vec<String> = ["a", " ", "b", "c"].map(str::to_owned).to_vec();
        let sent = worth_ranking(&documents);
        assert_eq!(sent, [0, 2, 3]);
        let best = ranked(&[(0, 0.1), (2, 0.9), (1, 0.5)], &sent, 2).unwrap();
        let best: Vec<usize> = best.iter().map(|entry| entry.index).collect();
        assert_eq!(best, [3, 2]);
        let bad: [&[(usize, f32)]; 4] = [
            &[(0, 0.1), (3, 0.9)],
            &[(0, 0.1), (0, 0.9)],
            &[(0, 0.1), (1, f32::NAN)],
            &[(0, 0.1)],
        ];
        for scores in bad {
            let error = ranked(scores, &sent, 2).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        }
        check_count("texts", 2, 2).unwrap();
        assert_eq!(check_count("texts", 3, 2).unwrap_err().kind(), ErrorKind::Input);
    }
}
