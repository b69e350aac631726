//! A profile as a program for the kernel.

use std::io::{Error, Result};

use crate::profile::{Action, Condition, Profile, Rule};

/// Where `struct seccomp_data` has what.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// `AUDIT_ARCH_*` of linux/audit.h.
const OURS: u32 = match () {
    () if cfg!(target_arch = "x86_64") => 0xc000_003e,
    () if cfg!(target_arch = "aarch64") => 0xc000_00b7,
    () => 0xc000_00f3,
};

/// From here on the numbers on x86-64 are those of x32.
const X32: u32 = 0x4000_0000;

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const IF_AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// The program for `profile`.
pub(crate) fn compile(profile: &Profile) -> Vec<libc::sock_filter> {
    let default = returned(profile.default);
    let highest = profile.rules.iter().map(|rule| rule.call).max().unwrap_or(0);
    let mut program = vec![
        statement(LOAD, ARCHITECTURE),
        jump(IF_EQUAL, OURS, 1, 0),
        statement(RETURN, returned(Action::Errno(libc::ENOSYS))),
        statement(LOAD, NUMBER),
        jump(IF_AT_LEAST, X32, 0, 1),
        statement(RETURN, returned(Action::Errno(libc::ENOSYS))),
    ];
    if let Some(newer) = profile.newer {
        program.push(jump(IF_AT_LEAST, highest + 1, 0, 1));
        program.push(statement(RETURN, returned(newer)));
    }
    for rule in &profile.rules {
        program.extend(compile_rule(rule));
    }
    program.push(statement(RETURN, default));
    program
}

/// Expects the number to be loaded, and has it loaded again where it goes on.
fn compile_rule(rule: &Rule) -> Vec<libc::sock_filter> {
    let mut body = Vec::new();
    for condition in &rule.conditions {
        body.extend(compile_condition(*condition));
    }
    // What fails jumps to the end of the body, which this is.
    let length = body.len();
    for (place, instruction) in body.iter_mut().enumerate() {
        for target in [&mut instruction.jt, &mut instruction.jf] {
            if *target == FAILED {
                // Past the rest and the return.
                *target = u8::try_from(length - place).expect("a short rule");
            }
        }
    }
    body.push(statement(RETURN, returned(rule.action)));
    if !rule.conditions.is_empty() {
        body.push(statement(LOAD, NUMBER));
    }
    let skipped = u8::try_from(body.len()).expect("a short rule");
    body.insert(0, jump(IF_EQUAL, rule.call, 0, skipped));
    body
}

/// A jump that is not resolved yet: the condition does not hold.
const FAILED: u8 = u8::MAX;

/// Goes on after itself if it holds.
fn compile_condition(condition: Condition) -> Vec<libc::sock_filter> {
    let Condition { argument, mask, value, equal } = condition;
    let at = ARGUMENTS + 8 * argument;
    let half = |offset, shift: u32| {
        [
            statement(LOAD, at + offset),
            statement(AND, (mask >> shift) as u32),
            jump(IF_EQUAL, (value >> shift) as u32, 0, 0),
        ]
    };
    // All our machines are little-endian.
    let [mut low, mut high] = [half(0, 0), half(4, 32)];
    if equal {
        low[2].jf = FAILED;
        high[2].jf = FAILED;
    } else {
        // Different in the low half is enough.
        low[2].jf = 3;
        high[2].jt = FAILED;
    }
    low.into_iter().chain(high).collect()
}

fn returned(action: Action) -> u32 {
    match action {
        Action::Allow => libc::SECCOMP_RET_ALLOW,
        Action::Errno(errno) => libc::SECCOMP_RET_ERRNO | errno.unsigned_abs(),
    }
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    jump(code, k, 0, 0)
}

fn jump(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).expect("a code"), jt, jf, k }
}

/// Puts this process under `program`; without `CAP_SYS_ADMIN` that takes `no_new_privs`.
pub(crate) fn install(program: &[libc::sock_filter], no_new_privs: bool) -> Result<()> {
    // SAFETY: Touches no memory.
    if no_new_privs && unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(Error::last_os_error());
    }
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).expect("a short program"),
        filter: program.as_ptr().cast_mut(),
    };
    let place = &raw const program;
    // SAFETY: The kernel reads the program, which is live.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, place) };
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::compile;
    use crate::profile::parse;

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

    /// What the kernel would do: a machine for the few instructions that there are.
    fn decide(text: &str, call: libc::c_long, arguments: [u64; 6]) -> u32 {
        let program = compile(&parse(text).expect("a profile"));
        let mut data = Vec::new();
        data.extend(u32::try_from(call).expect("a call").to_le_bytes());
        data.extend(super::OURS.to_le_bytes());
        data.extend(0u64.to_le_bytes());
        data.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
        let (mut place, mut value) = (0, 0);
        loop {
            let instruction = program[place];
            let (k, jt, jf) = (instruction.k, instruction.jt, instruction.jf);
            place += 1;
            match u32::from(instruction.code) {
                super::LOAD => {
                    let word = data[k as usize..][..4].try_into().expect("four bytes");
                    value = u32::from_le_bytes(word);
                }
                super::AND => value &= k,
                super::IF_EQUAL => place += usize::from(if value == k { jt } else { jf }),
                super::IF_AT_LEAST => place += usize::from(if value >= k { jt } else { jf }),
                super::RETURN => return k,
                code => panic!("{code}: no such instruction"),
            }
        }
    }

    const fn errno(number: i32) -> u32 {
        libc::SECCOMP_RET_ERRNO | number.unsigned_abs()
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let text = "default EPERM\nnewer ENOSYS\nallow read\nEINVAL read write\nallow clone3";
        assert_eq!(decide(text, libc::SYS_read, [0; 6]), ALLOW);
        assert_eq!(decide(text, libc::SYS_write, [0; 6]), errno(libc::EINVAL));
        assert_eq!(decide(text, libc::SYS_close, [0; 6]), errno(libc::EPERM));
        assert_eq!(decide(text, libc::SYS_clone3 + 1, [0; 6]), errno(libc::ENOSYS));
        assert_eq!(decide(text, 0x4000_0000, [0; 6]), errno(libc::ENOSYS));
    }

    #[test]
    fn a_condition_looks_at_all_64_bits() {
        let high = 1 << 40;
        let masked = "default EPERM\nallow clone if arg1 & 0x10000000010 = 0x10";
        for (argument, allowed) in [(0x10, true), (0x1f, true), (0, false), (high | 0x10, false)] {
            let decided = decide(masked, libc::SYS_clone, [0, argument, 0, 0, 0, 0]);
            assert_eq!(decided == ALLOW, allowed, "{argument:#x}");
        }
        let not =
            "default EPERM\nallow socket if arg0 != 5 and arg5 = 1\nEINVAL socket if arg0 = 5";
        for (first, last, expected) in [
            (5, 1, errno(libc::EINVAL)),
            (high | 5, 1, ALLOW),
            (4, 1, ALLOW),
            (4, 2, errno(libc::EPERM)),
            (4, high | 1, errno(libc::EPERM)),
        ] {
            let decided = decide(not, libc::SYS_socket, [first, 0, 0, 0, 0, last]);
            assert_eq!(decided, expected, "{first:#x}, {last:#x}");
        }
        // The next call is looked at by its number again.
        assert_eq!(decide(not, libc::SYS_read, [5; 6]), errno(libc::EPERM));
    }
}
