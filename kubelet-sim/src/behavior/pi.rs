//! π, which the Job of Kubernetes' documentation prints: `perl -Mbignum=bpi -wle 'print bpi(2000)'`.

/// Each limb holds nine digits.
const BASE: u64 = 1_000_000_000;
const DIGITS: usize = 9;

/// The most digits that are worked out.
const MOST: usize = 10_000;

/// What a command prints, if it is one that prints π.
pub fn printed(words: &[String]) -> Option<String> {
    let (program, arguments) = words.split_first()?;
    let is_perl = program == "perl" || program.ends_with("/perl");
    let script = arguments.last().filter(|_| is_perl)?;
    let count = script.split_once("bpi(")?.1.split_once(')')?.0.trim().parse().ok()?;
    (1..=MOST).contains(&count).then(|| format!("{}\n", digits(count)))
}

/// So many digits of π, the last one rounded. By Machin's formula: π = 16·arctan(1/5) − 4·arctan(1/239).
fn digits(count: usize) -> String {
    let limbs = count / DIGITS + 4;
    let mut sum = arctangent(5, limbs);
    multiply(&mut sum, 16);
    let mut less = arctangent(239, limbs);
    multiply(&mut less, 4);
    subtract(&mut sum, &less);
    let mut text: String = sum[0].to_string();
    sum[1..].iter().for_each(|limb| text += &format!("{limb:09}"));
    let mut bytes: Vec<u8> = text.bytes().take(count).collect();
    if text.as_bytes()[count] >= b'5' {
        for byte in bytes.iter_mut().rev() {
            if *byte == b'9' {
                *byte = b'0';
            } else {
                *byte += 1;
                break;
            }
        }
    }
    let text: String = bytes.into_iter().map(char::from).collect();
    if count == 1 { text } else { format!("{}.{}", &text[..1], &text[1..]) }
}

/// arctan(1/x) = 1/x − 1/3x³ + 1/5x⁵ − …; the first limb stands before the point.
fn arctangent(x: u64, limbs: usize) -> Vec<u64> {
    let mut power = vec![0; limbs];
    power[0] = 1;
    divide(&mut power, x);
    let mut sum = power.clone();
    for n in 1.. {
        divide(&mut power, x * x);
        let mut term = power.clone();
        divide(&mut term, 2 * n + 1);
        if term.iter().all(|limb| *limb == 0) {
            break;
        }
        if n % 2 == 1 { subtract(&mut sum, &term) } else { add(&mut sum, &term) }
    }
    sum
}

fn divide(number: &mut [u64], by: u64) {
    let mut rest = 0;
    for limb in number {
        let whole = rest * BASE + *limb;
        (*limb, rest) = (whole / by, whole % by);
    }
}

fn multiply(number: &mut [u64], by: u64) {
    let mut carry = 0;
    for limb in number.iter_mut().rev() {
        let whole = *limb * by + carry;
        (*limb, carry) = (whole % BASE, whole / BASE);
    }
}

fn add(number: &mut [u64], more: &[u64]) {
    let mut carry = 0;
    for (limb, more) in number.iter_mut().zip(more).rev() {
        let whole = *limb + more + carry;
        (*limb, carry) = (whole % BASE, whole / BASE);
    }
}

fn subtract(number: &mut [u64], less: &[u64]) {
    let mut borrowed = 0;
    for (limb, less) in number.iter_mut().zip(less).rev() {
        let whole = BASE + *limb - less - borrowed;
        (*limb, borrowed) = (whole % BASE, u64::from(whole < BASE));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pi_is_known_to_many_digits() {
        assert_eq!(digits(1), "3");
        assert_eq!(digits(10), "3.141592654");
        assert_eq!(digits(50), "3.1415926535897932384626433832795028841971693993751");
        let long = digits(2000);
        assert_eq!(long.len(), 2001);
        // The Feynman point, digits 762 to 767 after the point.
        assert_eq!(&long[2 + 761..2 + 767], "999999");
        let words = ["perl", "-Mbignum=bpi", "-wle", "print bpi(20)"].map(str::to_owned);
        assert_eq!(printed(&words).as_deref(), Some("3.1415926535897932385\n"));
        assert_eq!(printed(&["perl", "-v"].map(str::to_owned)), None);
        assert_eq!(printed(&["perl", "-e", "print bpi(999999999)"].map(str::to_owned)), None);
    }
}
