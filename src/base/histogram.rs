//! A histogram of times: an increment to write, and fine enough to read quantiles from. Four buckets an octave
//! from a microsecond to a minute, so a quantile is off by an eighth at most. One writer; whoever asks gets a copy.

use super::Moment;

/// The first four are a microsecond wide each; what took longer than the last is counted in it.
const BUCKETS: usize = 4 * (OCTAVES as usize - 1) + 1;
/// Times below 2^26 µs, 67 s, have a bucket of their size: twice what a request may take by default.
const OCTAVES: u32 = 26;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    micros: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], micros: 0 }
    }
}

impl Histogram {
    /// Something has taken from one moment to another.
    #[inline]
    pub fn record(&mut self, from: Moment, to: Moment) {
        let micros = to.as_micros().saturating_sub(from.as_micros());
        self.micros = self.micros.wrapping_add(micros);
        if let Some(bucket) = self.buckets.get_mut(place(micros)) {
            *bucket += 1;
        }
    }

    /// Things that took no time that a shard's clock could tell: they began and ended in one turn.
    pub fn record_at_once(&mut self, count: u64) {
        self.buckets[0] += count;
    }

    /// Takes in what another has counted.
    pub fn add(&mut self, other: &Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += more;
        }
        self.micros = self.micros.wrapping_add(other.micros);
    }

    /// What was counted since it was the other.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        for (bucket, less) in since.buckets.iter_mut().zip(earlier.buckets) {
            *bucket = bucket.saturating_sub(less);
        }
        since.micros = self.micros.saturating_sub(earlier.micros);
        since
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All times together.
    pub const fn micros(&self) -> u64 {
        self.micros
    }

    /// How many took at most so many microseconds, by octaves: what is told where each bucket costs a line.
    pub fn octaves(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut so_far = 0;
        let groups = self.buckets[..BUCKETS - 1].chunks(4);
        groups.zip(2_u32..).map(move |(four, octave)| {
            so_far += four.iter().sum::<u64>();
            (1 << octave, so_far)
        })
    }

    /// The time in microseconds within which this share of all was done, between 0 and 1; `None` of nothing.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let wanted = share * as_f64(count);
        let mut before = 0.0;
        for (at, &bucket) in self.buckets.iter().enumerate() {
            let here = as_f64(bucket);
            if before + here >= wanted && bucket > 0 {
                let (from, to) = bounds(at);
                // As if those of a bucket were spread evenly.
                return Some(as_f64(from) + as_f64(to - from) * ((wanted - before) / here));
            }
            before += here;
        }
        None
    }
}

/// The bucket of a time.
#[inline]
fn place(micros: u64) -> usize {
    let place = if micros < 4 {
        micros
    } else {
        let octave = micros.ilog2();
        // The two bits behind the first say which quarter of the octave.
        u64::from((octave - 1) * 4) + ((micros >> (octave - 2)) & 3)
    };
    usize::try_from(place).map_or(BUCKETS - 1, |place| place.min(BUCKETS - 1))
}

/// From where to where a bucket goes; the last has no end, and is taken for a quarter of an octave.
const fn bounds(at: usize) -> (u64, u64) {
    let at = at as u64;
    if at < 4 {
        return (at, at + 1);
    }
    let (octave, quarter) = (at / 4 + 1, at % 4);
    ((4 + quarter) << (octave - 2), (5 + quarter) << (octave - 2))
}

#[expect(clippy::cast_precision_loss, reason = "counts below 2^53, and a quantile is an estimate")]
const fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for &micros in times {
            histogram.record(Moment::from_micros(7), Moment::from_micros(7 + micros));
        }
        histogram
    }

    #[test]
    fn every_time_lies_in_the_bucket_that_is_its() {
        for micros in (0..5_000).chain((0..26).map(|n| (1 << n) - 1)).chain([1 << 25]) {
            let (from, to) = bounds(place(micros));
            assert!(from <= micros && micros < to, "{micros} in {from}..{to}");
            assert!(micros < 4 || (to - from) * 4 <= micros, "{micros}: a quarter of it at most");
        }
        assert_eq!(place((1 << OCTAVES) - 1), BUCKETS - 2);
        assert_eq!((place(1 << OCTAVES), place(u64::MAX)), (BUCKETS - 1, BUCKETS - 1));
    }

    #[test]
    fn octaves_tell_how_many_took_at_most_so_long() {
        let histogram = of(&[0, 3, 4, 7, 8, 1_000_000, 1 << 40]);
        let octaves: Vec<_> = histogram.octaves().collect();
        assert_eq!(octaves.len(), 25);
        assert_eq!(octaves[..3], [(4, 2), (8, 4), (16, 5)]);
        assert_eq!(octaves[24], (1 << OCTAVES, 6));
        assert_eq!(octaves.iter().find(|(to, _)| *to > 1_000_000), Some(&(1 << 20, 6)));
        assert_eq!((histogram.count(), of(&[2, 3]).micros()), (7, 5));
    }

    #[test]
    fn a_quantile_is_off_by_an_eighth_at_most() {
        let all: Vec<u64> = (1..=10_000).collect();
        let histogram = of(&all);
        for (share, truth) in [(0.5, 5_000.0), (0.9, 9_000.0), (0.99, 9_900.0)] {
            let found = histogram.quantile(share).expect("there are some");
            assert!((found - truth).abs() <= truth / 8.0, "{share}: {found}");
        }
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    #[test]
    fn what_came_since_is_the_difference() {
        let (before, mut after) = (of(&[1, 100]), of(&[1, 100]));
        after.add(&of(&[100, 5]));
        after.record_at_once(2);
        let mut expected = of(&[100, 5]);
        expected.record_at_once(2);
        assert_eq!(after.since(&before), expected);
    }
}
