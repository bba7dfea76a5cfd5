#!/usr/bin/env bash
# Lets bugs into the engine, one at a time, and sees whether the harness that is named for each finds it: a table of bug,
# harness and time. One build for all, in a target directory of its own. With names as arguments, those bugs alone.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Bug, and the tests that have to fail.
BUGS="
pending_before_its_list               simulation::deaths::death_at_every_step_of_an_overwrite
visible_before_cells                  simulation::deaths::death_at_every_step_of_an_overwrite
pending_cleared_first                 simulation::deaths::death_at_every_step_of_an_overwrite
redo_only_on_takeover                 simulation::images
redo_forgets_the_last_word            simulation::deaths::death_at_every_step_of_an_overwrite
recovery_leaves_visible               simulation::deaths::death_at_every_step_of_an_overwrite
sweeps_what_is_pending                simulation::deaths::death_at_every_step_of_a_put_with_a_new_tag
nothing_made_ahead_is_swept           simulation::named::a_segment_made_ahead
leftover_at_the_tail_stays            simulation::named::a_batch_that_never_was
readers_ignore_visible                simulation::transactions::t2_death
failed_batch_not_wiped                simulation::failures
batch_with_a_missing_member           simulation::images
dropped_segments_go_oldest_first      simulation::named::a_rebuild_that_dies
rebuild_forgets_removals              simulation::images
rebuild_trusts_large_values           simulation::images
rebuild_does_not_seal                 simulation::named::what_was_behind_a_break
state_trusted_after_power_loss        simulation::images
segment_does_not_say_where_the_last_ended simulation::images
segments_with_names_go                simulation::images
what_a_transaction_has_touched_goes   simulation::borrowed
files_wait_for_their_records          simulation::deaths::death_at_every_step_of_a_put_that
another_policy_has_evicted_nothing    simulation::eviction::what_was_evicted_under_another
set_aside_is_counted_by_halves        simulation::room::what_is_set_aside
removals_wait_for_much_that_is_dead   simulation::emptied
copies_have_no_room_to_grow           simulation::emptied
thrown_away_trees_keep_their_room     simulation::blocks
free_blocks_stay_apart                simulation::blocks
what_came_comes_for_ever              simulation::coming
leaves_are_foreseen_for_ever          simulation::coming
freed_leaves_are_foreseen             simulation::coming
nodes_keep_their_space                simulation::returned
nodes_are_released_before_their_commit simulation::returned
pending_returns_are_not_finished      simulation::returned
sync_forgets_names                    simulation::images
sync_forgets_large_values             simulation::images
sync_of_the_newest_segment_alone      simulation::images
no_salt                               storage::record
failed_sync_is_not_announced          simulation::durability
space_given_back_and_file_kept        simulation::random
replaced_record_still_counts          simulation::random::processes_in_turn
replacing_loses_the_order             simulation::random::processes_in_turn
clear_keeps_the_count                 simulation::random::processes_in_turn
tags_count_what_was_cleared           simulation::random::processes_in_turn
eviction_marks_the_commit_before      simulation::random::processes_in_turn
mark_kills_its_own_commit             storage::state
clock_set_back_revives                simulation::model
moved_before_the_bucket               simulation::deaths
nothing_says_what_is_dead             simulation::eviction
what_was_carried_is_not_asked_for     simulation::limit::whatever
marks_go_with_their_segment           simulation::eviction
evicted_keys_are_not_removed          simulation::limit::a_deleted_key
cleared_segments_leave_the_main_stream simulation::limit::whatever
files_of_a_pending_commit_go          simulation::power::a_durable_value_stays
rows_in_use_are_taken_over            simulation::tag_rows::g2
rows_are_taken_over_by_who_empties_them simulation::deaths::death_at_every_step_of_a_put_of_a_new_tag
rows_are_taken_over_without_a_mark    simulation::tag_rows::what_a_rebuild_finds
names_are_of_any_age                  simulation::tag_rows::g1
a_lost_name_brings_the_former_one_back simulation::tag_rows::g1
rebuilds_forget_what_was_walked       simulation::again::k5
what_the_power_took_comes_back        simulation::again
the_first_copy_counts                 simulation::again
buckets_keep_what_a_move_left         simulation::forgotten
rebuild_frees_rows_that_others_are_behind simulation::tag_rows::a_rebuild
queue_keeps_its_beginning             simulation::queue
words_of_a_pending_commit_count       simulation::stopped
emptied_cells_lead_nobody             simulation::stopped
what_lasts_is_evicted                 simulation::queue::what_is_in_a_queue
gleaning_has_no_end                   simulation::queue::a_store_full_of_large
walks_in_vain_have_no_end             simulation::rot::a_segment_with
clear_takes_namespaces_too            simulation::queue::queues_are
freed_nodes_are_used_at_once          simulation::index
keys_come_over_those_that_go          simulation::index::a_key_that_goes
removed_keys_stay_in_order            simulation::index
rebuild_makes_no_order                simulation::index
rows_freed_with_their_cells           simulation::limit::a_death_at_every_step
joint_commit_shown_one_by_one         simulation::joint::j3
joint_commit_is_not_decided           simulation::joint::j4
joint_commit_decided_before_it_is_durable simulation::joint::j4
undecided_batch_stays                 simulation::joint::j4
joint_batch_is_wiped_lightly          simulation::joint::j4
"

export CARGO_TARGET_DIR=${LARDER_BUGS_TARGET_DIR:-${CARGO_TARGET_DIR:-target}/seeded-bugs}
export RUSTFLAGS="--cfg larder_bugs" RUST_BACKTRACE=0
export LARDER_TEST_IMAGES=${LARDER_TEST_IMAGES:-5000} PROPTEST_MAX_SHRINK_ITERS=0
tests=$(cargo test --lib --no-run 2>&1 | sed -n 's/.*Executable.*(\(.*\))$/\1/p')
if [ -z "$tests" ]; then
    echo "the build failed" >&2
    exit 1
fi

missed=0
printf '| bug | harness | seconds | |\n|---|---|---|---|\n'
while read -r bug harness; do
    [ -n "$bug" ] || continue
    if [ $# -gt 0 ] && [[ " $* " != *" $bug "* ]]; then
        continue
    fi
    images=$LARDER_TEST_IMAGES
    # What only some full stores show takes more of them.
    [[ $harness == simulation::limit* ]] && images=$((5 * images))
    start=$(date +%s%N)
    LARDER_TEST_IMAGES=$images LARDER_BUG=$bug timeout "${LARDER_BUG_SECONDS:-180}" "$tests" "$harness" --test-threads=2 >/dev/null 2>&1
    # 101 is a failed test. A harness that only ran out of time has found nothing.
    if [ $? -eq 101 ]; then verdict=caught; else verdict=MISSED missed=1; fi
    printf '| `%s` | `%s` | %d | %s |\n' "$bug" "$harness" $((($(date +%s%N) - start) / 1000000000)) "$verdict"
done <<<"$BUGS"
exit $missed
