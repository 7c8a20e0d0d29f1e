"""What a run goes on from: snapshots here or in a storage, and who may write them."""
