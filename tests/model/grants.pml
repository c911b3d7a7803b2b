/* The grant and token protocol of sync/README.md, small enough to look at every story.
 *
 * Homes (journals) ask one store for numbers. A contact is three steps: the proposal becomes durable
 * and the message leaves; the store carries it out in one transaction; the answer is applied in one
 * transaction. Between any two steps anything else may happen: requests and answers are lost, messages
 * arrive twice or late, a journal is copied, the store is put back to a backup and recovered.
 *
 * RULE marks a line that is a rule of the protocol, with the -D that breaks it. The names of the asserts
 * are those of the promises (docs/faults.md). What is left out stands in docs/model.md.
 */

#ifndef SENDS
#define SENDS 4      /* contacts in a story */
#endif
#ifndef SPENDS
#define SPENDS 2     /* tries to release without the store */
#endif
#ifndef COPIES
#define COPIES 1     /* copies of journals made */
#endif
#ifndef RESTORES
#define RESTORES 0   /* times the store is put back; 0 or 1 */
#endif
#ifndef RECOVERIES
#define RECOVERIES RESTORES
#endif
#ifndef LATES
#define LATES 1      /* messages that the network keeps a second copy of */
#endif
#ifndef MACHINES
#define MACHINES 2   /* homes at the beginning */
#endif
#define HOMES (MACHINES + COPIES)
#define NODES (HOMES + COPIES + 1)  /* a new id for each home that is found to be a copy */
#ifndef SIZE
#define SIZE 1       /* numbers in a reserve */
#endif
#ifndef AHEAD
#define AHEAD 3
#endif
#ifndef NO_MARGIN
#define MARGIN 9     /* RULE (NO_MARGIN): above what a lost history can have handed out */
#else
#define MARGIN 0
#endif
#define TOP 30       /* numbers are bits of an int; counting ends here */
#define ANYWHERE 255 /* a hint that is not known yet */

#define BIT(n) (1 << (n))
#define HAS(set, n) (((set) >> (n)) & 1)

/* A journal, and the one process of it that speaks. Numbers begin at 1; 0 is none. */
typedef Home {
  bool alive;
  byte node;               /* its id at the store */
  byte step, value;        /* contact token; the random part is the home that drew it */
  byte pstep, pvalue;      /* pending proposal; equal to the token: none */
  byte place, hint;        /* where it lies; where it lay at its last accepted contact */
  byte next, last, rgen;   /* reserve; next 0: none */
  byte spent, seen;        /* highest number taken; online cursor as last pulled */
  byte gen, k; bool life;  /* last entry of the store it remembers: place in the log, and its hash */
  int used[3];             /* numbers its events say are in use, by generation */
  int known;               /* numbers in use that it has heard of */
  byte key;                /* DURABLE_NONCE only */
  byte phase;              /* 0 idle, 1 request on its way, 2 answer on its way */
  /* what follows is for the checks only */
  bool forked;             /* its id is or was shared by a copy */
  bool unanswered;         /* it sent a proposal and heard nothing since */
  bool clean;              /* the copy was made when nothing was unanswered */
  bool moved_on;           /* another home was accepted under its id since it was copied */
  byte accepted            /* answered contacts since it was copied, 2 at most */
}
Home home[HOMES];

/* A request, and the answer to it. */
typedef Message {
  byte from, node, step, value, pstep, pvalue, gen, k; bool life;
  byte above, held, nonce; bool online;
  int used[3]
}
Message mail[HOMES];
Message late;
bool late_there;

typedef Answer { byte verdict, lo, rlo, rhi, gen, online, k; bool life; int inuse }
Answer answer[HOMES];
#define ACCEPTED 1
#define COPY 2
#define WENT_BACK 3

/* What the store keeps. */
typedef Store {
  byte gen, online, high, k;
  int lives;               /* entry k was written after the restore: stands for its hash */
  int granted, reserved, inuse;
  bool stop; byte evidence;
  byte step[NODES], value[NODES]; int met, forgot; /* tokens; met by it; set anew by a recovery */
  int done; byte nlo[SENDS + 1], nrlo[SENDS + 1]   /* what each nonce was granted */
}
Store store, backup;
bool backed_up, life;      /* life: after the restore */

byte sends, spends, copies, lates, recoveries, homes_now = MACHINES, nodes_now = MACHINES;

/* For the checks only. */
int printed, doubtful;     /* numbers people saw; numbers granted by a store that had forgotten */
bool forgetful;            /* it was put back, and nobody who has seen more has spoken since */

byte i, h, g, lo, hi, n, top; bool all; /* working variables; zero between steps */

/* ---- a number goes to a person ---- */

inline take(number, generation) {
  printf("  home %d prints %d\n", h, number);
#ifdef RISK_RESTORE
  assert(!HAS(printed, number)); /* P1 */
#else
  assert(!HAS(printed, number) || HAS(doubtful, number)); /* P1 */
#endif
  assert(number > home[h].spent); /* P3 */
  printed = printed | BIT(number);
  home[h].spent = number;
  home[h].used[generation] = home[h].used[generation] | BIT(number);
  home[h].known = home[h].known | BIT(number)
}

/* ---- the journal ---- */

inline send(with_number) {
  sends++;
  /* RULE (PROPOSAL_READY): the proposal is drawn and durable before it is sent; a pending one is
     shared, not replaced */
  if
  :: home[h].pstep == home[h].step -> home[h].pstep = home[h].step + 1; home[h].pvalue = h
  :: else
  fi;
  home[h].unanswered = true;
  mail[h].from = h; mail[h].node = home[h].node;
  mail[h].step = home[h].step; mail[h].value = home[h].value;
  mail[h].pstep = home[h].pstep; mail[h].pvalue = home[h].pvalue;
  mail[h].gen = home[h].gen; mail[h].k = home[h].k; mail[h].life = home[h].life;
  mail[h].above = (home[h].spent > home[h].seen -> home[h].spent : home[h].seen);
  mail[h].held = ((home[h].next && home[h].rgen == home[h].gen) -> home[h].next : 0);
  mail[h].online = with_number;
  mail[h].used[1] = home[h].used[1]; mail[h].used[2] = home[h].used[2];
#ifdef DURABLE_NONCE
  if :: home[h].key == 0 -> home[h].key = sends :: else fi;
  mail[h].nonce = home[h].key;
#else
  mail[h].nonce = sends; /* RULE (DURABLE_NONCE): drawn for one request and kept in memory only */
#endif
  home[h].phase = 1;
  printf("home %d asks as node %d: token %d.%d, proposal %d.%d, number %d, nonce %d\n", h,
    home[h].node, home[h].step, home[h].value, home[h].pstep, home[h].pvalue, with_number, mail[h].nonce)
}

inline copy_message(to, from_) {
  to.from = from_.from; to.node = from_.node; to.step = from_.step; to.value = from_.value;
  to.pstep = from_.pstep; to.pvalue = from_.pvalue; to.gen = from_.gen; to.k = from_.k; to.life = from_.life;
  to.above = from_.above; to.held = from_.held; to.nonce = from_.nonce; to.online = from_.online;
  to.used[1] = from_.used[1]; to.used[2] = from_.used[2]
}

inline clear_message(m) {
  m.from = 0; m.node = 0; m.step = 0; m.value = 0; m.pstep = 0; m.pvalue = 0; m.gen = 0; m.k = 0;
  m.life = 0; m.above = 0; m.held = 0; m.nonce = 0; m.online = 0; m.used[1] = 0; m.used[2] = 0
}

inline clear_mail_but_token() {
  mail[h].from = 0; mail[h].gen = 0; mail[h].k = 0; mail[h].life = 0; mail[h].above = 0;
  mail[h].held = 0; mail[h].nonce = 0; mail[h].online = 0; mail[h].used[1] = 0; mail[h].used[2] = 0
}

inline clear_answer() {
  answer[h].verdict = 0; answer[h].lo = 0; answer[h].rlo = 0; answer[h].rhi = 0; answer[h].gen = 0;
  answer[h].online = 0; answer[h].k = 0; answer[h].life = 0; answer[h].inuse = 0
}

inline give_up_reserve() { home[h].next = 0; home[h].last = 0; home[h].rgen = 0 }

inline go_on_as_copy() {
  assert(home[h].forked); /* P9: no false alarm */
  printf("home %d is a copy and goes on as node %d\n", h, nodes_now);
  home[h].node = nodes_now; nodes_now++;
  home[h].step = 0; home[h].value = 0; home[h].pstep = 0; home[h].pvalue = 0;
  home[h].hint = ANYWHERE;
#ifndef COPY_KEEPS_RESERVE
  give_up_reserve(); /* RULE (COPY_KEEPS_RESERVE): the other copy holds the same numbers */
#endif
  home[h].forked = false; home[h].unanswered = false; home[h].clean = false;
  home[h].moved_on = false; home[h].accepted = 0
}

inline apply() {
  home[h].unanswered = false;
  home[h].key = 0;
  if
  :: answer[h].verdict == COPY -> go_on_as_copy()
  :: answer[h].verdict != COPY && answer[h].gen < home[h].gen ->
    skip /* numbers of another life of the store: the whole answer is left alone */
  :: else ->
    if
    :: answer[h].gen > home[h].gen && home[h].gen > 0 ->
      give_up_reserve(); /* what a recovered store granted before is void for new spending */
      home[h].k = 0; home[h].life = 0
    :: else
    fi;
    home[h].gen = answer[h].gen;
    if
    :: home[h].step == mail[h].step && home[h].value == mail[h].value ->
      home[h].step = mail[h].pstep; home[h].value = mail[h].pvalue;
#ifdef PROPOSAL_READY
      home[h].pstep = home[h].step + 1; home[h].pvalue = h
#else
      home[h].pstep = home[h].step; home[h].pvalue = home[h].value /* RULE: none is kept ready */
#endif
    :: else
    fi;
    if
    :: home[h].hint != ANYWHERE && home[h].hint != home[h].place ->
#ifndef UNLOCK_AT_CONTACT
      give_up_reserve(); /* RULE (UNLOCK_AT_CONTACT): an accepted contact does not vouch for it */
#endif
      skip
    :: else
    fi;
    home[h].hint = home[h].place;
    if
    :: answer[h].rlo && home[h].node == mail[h].node ->
      home[h].next = answer[h].rlo; home[h].last = answer[h].rhi; home[h].rgen = answer[h].gen
    :: else
    fi;
    home[h].known = home[h].known | answer[h].inuse;
    if
    :: answer[h].lo > home[h].spent && !HAS(home[h].known, answer[h].lo) ->
      take(answer[h].lo, answer[h].gen)
    :: else
    fi;
    if :: answer[h].online > home[h].seen -> home[h].seen = answer[h].online :: else fi;
    home[h].k = answer[h].k; home[h].life = answer[h].life;
    if
    :: home[h].forked && home[h].accepted < 2 -> home[h].accepted++
    :: else
    fi;
    i = 0;
    do
    :: i < homes_now ->
      assert(life || i == h || home[i].node != home[h].node || home[i].accepted < 2 ||
        home[h].accepted < 2); /* P9: noticed before both have made two contacts */
      i++
    :: else -> i = 0; break
    od
  fi;
  clear_message(mail[h]); clear_answer();
  home[h].phase = 0
}

inline spend() {
  spends++;
  n = (home[h].spent > home[h].seen -> home[h].spent : home[h].seen) + 1;
  if :: home[h].next > n -> n = home[h].next :: else fi;
  if
#ifndef NO_HINT
  :: home[h].hint != home[h].place ->
    skip /* RULE (NO_HINT): a journal that lies elsewhere is locked while it cannot ask */
#else
  :: false -> skip
#endif
  :: else ->
    if
    :: n <= home[h].last && !HAS(home[h].known, n) && home[h].rgen == home[h].gen ->
      if
      :: n == home[h].last -> give_up_reserve()
      :: else -> home[h].next = n + 1
      fi;
      printf("home %d takes %d from its reserve\n", h, n);
      take(n, home[h].gen)
    :: else
    fi
  fi;
  n = 0
}

/* ---- the store: one transaction for a message, in this order ---- */

inline append() {
  store.k++;
  store.lives = (life -> store.lives | BIT(store.k) : store.lives)
}

inline raise_to(number) {
  if
  :: number > store.online ->
    append();
    store.online = number;
    if :: number > store.high -> store.high = number :: else fi
  :: else
  fi
}

inline saw_in_use(number, older) {
  if
#ifndef NO_RAISE
  :: HAS(store.granted, number) ->
    raise_to(number) /* RULE (NO_RAISE): an emergency number lifts the online cursor */
#else
  :: HAS(store.granted, number) -> skip
#endif
  :: !HAS(store.granted, number) && older && number <= store.online -> skip
  :: else ->
    store.stop = true; /* it never moves a cursor, it stops grants and stays as evidence */
    if :: number > store.evidence -> store.evidence = number :: else fi
  fi
}

inline judge(m) {
  if
#ifdef TOKEN_UNCHECKED
  :: true -> answer[g].verdict = ACCEPTED
#else
  :: !HAS(store.met, m.node) && (m.step == 0 || m.gen < store.gen) -> answer[g].verdict = ACCEPTED
  :: !HAS(store.met, m.node) && m.step > 0 && m.gen >= store.gen -> answer[g].verdict = WENT_BACK
  :: HAS(store.met, m.node) && HAS(store.forgot, m.node) ->
    /* a recovery forgets tokens, but not how far they had come: of two copies the one that stopped
       earlier must not set the other back */
    answer[g].verdict = (m.pstep >= store.step[m.node] -> ACCEPTED : COPY)
  :: HAS(store.met, m.node) && !HAS(store.forgot, m.node) ->
    /* RULE (TOKEN_UNCHECKED): the token it has, or the same proposal again */
    if
    :: m.step == store.step[m.node] && m.value == store.value[m.node] -> answer[g].verdict = ACCEPTED
    :: m.pstep == store.step[m.node] && m.pvalue == store.value[m.node] ->
      answer[g].verdict = ACCEPTED
#ifndef LATE_SETS_BACK
    /* RULE (LATE_SETS_BACK): who comes from before a recovery, with a higher token, sets it anew */
    :: m.step > store.step[m.node] && m.gen < store.gen -> answer[g].verdict = ACCEPTED
#endif
    :: else -> answer[g].verdict = (m.step > store.step[m.node] -> WENT_BACK : COPY)
    fi
#endif
  fi
}

inline keep_token(m) {
  if
  :: store.step[m.node] != m.pstep || store.value[m.node] != m.pvalue ->
    i = 0;
    do
    :: i < homes_now ->
      assert(life || i != m.from || home[i].node != m.node || !home[i].clean || !home[i].moved_on);
        /* P9: a backup is noticed at its first contact, if the original was in contact since */
      if
      :: i != m.from && home[i].node == m.node && home[i].forked -> home[i].moved_on = true
      :: else
      fi;
      i++
    :: else -> i = 0; break
    od
  :: else
  fi;
  store.step[m.node] = m.pstep; store.value[m.node] = m.pvalue;
  store.met = store.met | BIT(m.node);
  store.forgot = store.forgot & ~BIT(m.node)
}

inline push(m) {
  n = 1;
  do
  :: n <= TOP ->
    if
    :: HAS(m.used[1] & ~store.inuse, n) -> saw_in_use(n, 1 < store.gen)
    :: else
    fi;
    if
    :: HAS(m.used[2] & ~store.inuse, n) -> saw_in_use(n, 2 < store.gen)
    :: else
    fi;
    n++
  :: else -> n = 0; break
  od;
  store.inuse = store.inuse | m.used[1] | m.used[2]
}

#define LACKS(m) (m.k > 0 && (m.k > store.k || HAS(store.lives, m.k) != m.life))

inline witness(m) {
  /* who remembers an entry the store lacks has seen more */
  if :: m.gen == store.gen && LACKS(m) -> forgetful = false :: else fi;
#ifndef NO_WITNESS
  /* RULE (NO_WITNESS): a store that lacks what a machine remembers stops */
  if
  :: m.gen > store.gen -> store.stop = true
  :: m.gen <= store.gen && (m.gen == 0 || m.gen == store.gen) &&
     (answer[g].verdict == WENT_BACK || LACKS(m)) ->
     assert(recoveries == 0); /* recovered once is enough */
     store.stop = true
  :: else
  fi
#endif
}

inline grant(first, end) {
  n = first;
  do
  :: n <= end ->
    assert(!HAS(store.granted, n)); /* P5: grants are disjoint */
    store.granted = store.granted | BIT(n);
    doubtful = (forgetful -> doubtful | BIT(n) : doubtful);
    n++
  :: else -> n = 0; break
  od;
  append();
  if :: end > store.high -> store.high = end :: else fi
}

inline grant_online(m) {
  lo = store.online + 1;
#ifndef ONLINE_IN_RESERVE
  do
  :: HAS(store.reserved, lo) -> lo++ /* RULE (ONLINE_IN_RESERVE): never a number of a reserve */
  :: else -> break
  od;
#endif
  if
  :: lo <= TOP ->
    assert(lo > m.above); /* P4: above all that the asker took or knows to be in use */
    grant(lo, lo);
    store.online = lo; store.nlo[m.nonce] = lo; answer[g].lo = lo
  :: else
  fi;
  lo = 0
}

inline grant_reserve(m) {
  if
  :: m.held == 0 || m.held <= store.online + AHEAD / 2 ->
    lo = store.online + AHEAD;
#ifndef RESERVE_NOT_ABOVE
    /* RULE (RESERVE_NOT_ABOVE): above every other grant */
    if :: lo <= store.high -> lo = store.high + 1 :: else fi;
#endif
    hi = lo + SIZE - 1;
    if
    :: hi <= TOP ->
      grant(lo, hi);
      n = lo;
      do
      :: n <= hi -> store.reserved = store.reserved | BIT(n); n++
      :: else -> n = 0; break
      od;
      store.nrlo[m.nonce] = lo; answer[g].rlo = lo; answer[g].rhi = hi
    :: else
    fi;
    lo = 0; hi = 0
  :: else
  fi
}

inline carry_out(m) {
  g = m.from;
  judge(m);
  if
  :: answer[g].verdict == COPY -> skip /* refused as a whole: nothing takes effect */
  :: else ->
    if :: answer[g].verdict == ACCEPTED -> keep_token(m) :: else fi;
    push(m);
    witness(m);
    if
#ifndef NO_NONCE
    :: HAS(store.done, m.nonce) -> /* RULE (NO_NONCE): the same request gets the same entries */
      answer[g].lo = store.nlo[m.nonce]; answer[g].rlo = store.nrlo[m.nonce];
      answer[g].rhi = (answer[g].rlo -> answer[g].rlo + SIZE - 1 : 0)
#endif
    :: else ->
      if
      :: m.above > store.online -> saw_in_use(m.above, false)
      :: else
      fi;
      if
      :: store.stop -> skip /* RULE: pushes are taken, numbers are not handed out */
      :: else ->
        assert(!HAS(store.done, m.nonce)); /* one request, one grant */
        store.done = store.done | BIT(m.nonce);
        if :: m.online -> grant_online(m) :: else fi;
        grant_reserve(m)
      fi
    fi;
    answer[g].gen = store.gen; answer[g].online = store.online; answer[g].k = store.k;
    answer[g].life = HAS(store.lives, store.k); answer[g].inuse = store.inuse
  fi;
  printf("  store: verdict %d, number %d, reserve %d, stopped %d\n", answer[g].verdict,
    answer[g].lo, answer[g].rlo, store.stop);
  g = 0
}

/* ---- what goes wrong ---- */

inline copy_home() {
  /* a copy that nobody starts until later is a backup; then the original may be gone */
  g = homes_now; homes_now++; copies++;
  printf("home %d is copied: home %d\n", h, g);
  home[g].alive = true; home[g].node = home[h].node;
  home[g].step = home[h].step; home[g].value = home[h].value;
  home[g].pstep = home[h].pstep; home[g].pvalue = home[h].pvalue;
#ifdef RISK_WHOLE
  home[g].place = home[h].place; /* with everything by which it knows its place */
#else
  home[g].place = g;
#endif
  home[g].hint = home[h].hint;
#ifdef RISK_MOVED
  home[g].hint = home[g].place; /* --journal-was-moved said of a copy */
#endif
  home[g].next = home[h].next; home[g].last = home[h].last; home[g].rgen = home[h].rgen;
  home[g].spent = home[h].spent; home[g].seen = home[h].seen; home[g].gen = home[h].gen;
  home[g].k = home[h].k; home[g].life = home[h].life;
  home[g].used[1] = home[h].used[1]; home[g].used[2] = home[h].used[2];
  home[g].known = home[h].known; home[g].key = home[h].key;
  home[h].forked = true; home[g].forked = true;
  home[h].accepted = 0; home[g].accepted = 0;
  home[h].moved_on = false; home[g].moved_on = false;
  home[h].clean = !home[h].unanswered; home[g].clean = !home[h].unanswered;
  g = 0
}

inline copy_store(to, from_) {
  to.gen = from_.gen; to.online = from_.online; to.high = from_.high; to.k = from_.k; to.lives = from_.lives;
  to.granted = from_.granted; to.reserved = from_.reserved; to.inuse = from_.inuse;
  to.stop = from_.stop; to.evidence = from_.evidence; to.met = from_.met; to.forgot = from_.forgot;
  to.done = from_.done;
  i = 0;
  do
  :: i < NODES -> to.step[i] = from_.step[i]; to.value[i] = from_.value[i]; i++
  :: else -> i = 0; break
  od;
  do
  :: i <= SENDS -> to.nlo[i] = from_.nlo[i]; to.nrlo[i] = from_.nrlo[i]; i++
  :: else -> i = 0; break
  od
}

inline recover() {
  /* evidence: all the store still has, and all the operator's machine knows */
  top = store.high;
  if :: store.evidence > top -> top = store.evidence :: else fi;
  if :: home[h].spent > top -> top = home[h].spent :: else fi;
  if :: home[h].seen > top -> top = home[h].seen :: else fi;
  if :: home[h].last > top -> top = home[h].last :: else fi;
  store.gen = (home[h].gen > store.gen -> home[h].gen : store.gen) + 1;
  top = top + MARGIN;
  if :: top > TOP -> top = TOP :: else fi;
  raise_to(top);
  store.stop = false; store.evidence = 0; forgetful = false;
  store.forgot = store.met;
  printf("home %d recovers the store: generation %d, above %d\n", h, store.gen, store.online);
  recoveries++; top = 0
}

/* h becomes a home of which WHAT is true; blocked where there is none. */
#define IS(number, what) number < homes_now && home[number].what -> h = number
#if HOMES == 1
#define PICK(what) if :: IS(0, what) fi
#elif HOMES == 2
#define PICK(what) if :: IS(0, what) :: IS(1, what) fi
#elif HOMES == 3
#define PICK(what) if :: IS(0, what) :: IS(1, what) :: IS(2, what) fi
#else
#define PICK(what) if :: IS(0, what) :: IS(1, what) :: IS(2, what) :: IS(3, what) fi
#endif

init {
  d_step {
    store.gen = 1;
    do
    :: i < MACHINES ->
      home[i].alive = true; home[i].node = i; home[i].place = i; home[i].hint = ANYWHERE;
      i++
    :: else -> i = 0; break
    od
  }
  do
  :: atomic {
#if COPIES == 0
       (sends < SENDS) ->
       if
       :: sends == 0 -> h = 0 /* the machines are alike */
       :: sends > 0 -> PICK(phase == 0)
       fi;
#else
       (sends < SENDS) -> PICK(phase == 0);
#endif
       if
       :: d_step { send(true) }
       :: d_step { send(false) }
       fi;
       if
       :: d_step { (lates < LATES && !late_there) ->
            copy_message(late, mail[h]); late_there = true; lates++;
            printf("  the network keeps a second copy\n"); h = 0 }
       :: h = 0
       fi
     }
  :: d_step { /* nobody hears the answer */
       (late_there && home[late.from].phase != 2) ->
       printf("a message of home %d arrives late or twice\n", late.from);
       h = late.from; carry_out(late);
       clear_answer(); clear_message(late); late_there = false; h = 0
     }
  :: atomic { PICK(phase == 1);
       d_step {
         printf("home %d is heard\n", h);
         carry_out(mail[h]); clear_mail_but_token(); home[h].phase = 2; h = 0 } }
  :: atomic { PICK(phase == 2);
       d_step { printf("home %d hears the answer\n", h); apply(); h = 0 } }
  :: atomic { PICK(phase > 0);
       d_step {
         printf("home %d hears nothing\n", h);
         clear_message(mail[h]); clear_answer(); home[h].phase = 0; h = 0 } }
  :: atomic { (spends < SPENDS) -> PICK(next > 0); d_step { spend(); h = 0 } }
#if COPIES == 1
  :: d_step { (copies < 1 && home[0].gen > 0) -> copy_home() } /* the machines are alike */
#elif COPIES > 1
  :: atomic { (copies < COPIES) -> PICK(gen > 0); d_step { copy_home(); h = 0 } }
#endif
#if RESTORES
  :: d_step { !backed_up -> copy_store(backup, store); backed_up = true }
  :: d_step {
       (backed_up && !life && backup.k < store.k) ->
       printf("the store is put back\n");
       copy_store(store, backup); life = true; forgetful = true
     }
  :: atomic { (recoveries < RECOVERIES && store.stop) -> PICK(gen > 0); d_step { recover(); h = 0 } }
#endif
  :: true -> break
  od
}
