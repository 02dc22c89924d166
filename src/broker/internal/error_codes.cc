#include "broker/internal/error_codes.h"

namespace millrace::broker {

using wire::ErrorCode;

ErrorCode to_wire(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument:
      return ErrorCode::kInvalidRequest;
    case Errc::kNotFound:
      return ErrorCode::kUnknownTopicOrPartition;
    case Errc::kAlreadyExists:
      return ErrorCode::kTopicAlreadyExists;
    case Errc::kConflict:
      return ErrorCode::kConcurrentTransactions;
    // Retriable: clients refresh their metadata and come again, which is right for a full, failed or read-only disk,
    // and for files that are damaged until somebody restores them. What clients send is checked before it gets that
    // far.
    case Errc::kCorruption:
    case Errc::kIo:
    case Errc::kOutOfSpace:
    case Errc::kPermissionDenied:
      return ErrorCode::kKafkaStorageError;
    case Errc::kTooLarge:
      return ErrorCode::kMessageTooLarge;
    case Errc::kUnsupported:
    case Errc::kNotBuiltYet:
      return ErrorCode::kUnsupportedVersion;
    // The store has failed or is closing: as for a disk, the client should look for another leader and come again.
    case Errc::kUnavailable:
    case Errc::kCancelled:
      return ErrorCode::kKafkaStorageError;
    case Errc::kTimedOut:
      return ErrorCode::kRequestTimedOut;
    case Errc::kInternal:
      return ErrorCode::kUnknownServerError;
  }
}

ErrorCode to_wire(coord::GroupError error) {
  switch (error) {
    case coord::GroupError::kNone:
      return ErrorCode::kNone;
    case coord::GroupError::kInvalidGroupId:
      return ErrorCode::kInvalidGroupId;
    case coord::GroupError::kInvalidSessionTimeout:
      return ErrorCode::kInvalidSessionTimeout;
    case coord::GroupError::kInvalidRequest:
      return ErrorCode::kInvalidRequest;
    case coord::GroupError::kMemberIdRequired:
      return ErrorCode::kMemberIdRequired;
    case coord::GroupError::kUnknownMemberId:
      return ErrorCode::kUnknownMemberId;
    case coord::GroupError::kFencedInstanceId:
      return ErrorCode::kFencedInstanceId;
    case coord::GroupError::kIllegalGeneration:
      return ErrorCode::kIllegalGeneration;
    case coord::GroupError::kRebalanceInProgress:
      return ErrorCode::kRebalanceInProgress;
    case coord::GroupError::kInconsistentGroupProtocol:
      return ErrorCode::kInconsistentGroupProtocol;
    case coord::GroupError::kGroupMaxSizeReached:
      return ErrorCode::kGroupMaxSizeReached;
    case coord::GroupError::kAssignmentTooLarge:
      return ErrorCode::kUnknownServerError;
    case coord::GroupError::kOffsetMetadataTooLarge:
      return ErrorCode::kOffsetMetadataTooLarge;
    case coord::GroupError::kGroupIdNotFound:
      return ErrorCode::kGroupIdNotFound;
    case coord::GroupError::kNonEmptyGroup:
      return ErrorCode::kNonEmptyGroup;
    case coord::GroupError::kGroupSubscribedToTopic:
      return ErrorCode::kGroupSubscribedToTopic;
    case coord::GroupError::kCoordinatorNotAvailable:
      return ErrorCode::kCoordinatorNotAvailable;
    case coord::GroupError::kNotCoordinator:
      return ErrorCode::kNotCoordinator;
  }
}

ErrorCode to_wire(coord::TransactionError error) {
  switch (error) {
    case coord::TransactionError::kNone:
      return ErrorCode::kNone;
    case coord::TransactionError::kInvalidRequest:
      return ErrorCode::kInvalidRequest;
    case coord::TransactionError::kInvalidTransactionTimeout:
      return ErrorCode::kInvalidTransactionTimeout;
    case coord::TransactionError::kInvalidProducerIdMapping:
      return ErrorCode::kInvalidProducerIdMapping;
    case coord::TransactionError::kProducerFenced:
      return ErrorCode::kProducerFenced;
    case coord::TransactionError::kInvalidTxnState:
      return ErrorCode::kInvalidTxnState;
    case coord::TransactionError::kTransactionalIdNotFound:
      return ErrorCode::kTransactionalIdNotFound;
    case coord::TransactionError::kCoordinatorNotAvailable:
      return ErrorCode::kCoordinatorNotAvailable;
    case coord::TransactionError::kNotCoordinator:
      return ErrorCode::kNotCoordinator;
  }
}

ErrorCode to_wire(record::BatchDefect defect) {
  switch (defect) {
    case record::BatchDefect::kBadLength:
    case record::BatchDefect::kUnknownFormat:
    case record::BatchDefect::kBadChecksum:
      return ErrorCode::kCorruptMessage;
    case record::BatchDefect::kUnknownCodec:
      return ErrorCode::kUnsupportedCompressionType;
    case record::BatchDefect::kTruncated:
    case record::BatchDefect::kOldFormat:
    case record::BatchDefect::kBadCounts:
    case record::BatchDefect::kControlBatch:
      return ErrorCode::kInvalidRecord;
  }
}

ErrorCode to_wire(log::AppendOutcome outcome) {
  switch (outcome) {
    case log::AppendOutcome::kAppended:
    case log::AppendOutcome::kDuplicate:
      return ErrorCode::kNone;
    case log::AppendOutcome::kOutOfOrderSequence:
      return ErrorCode::kOutOfOrderSequenceNumber;
    case log::AppendOutcome::kInvalidProducerEpoch:
      return ErrorCode::kInvalidProducerEpoch;
    case log::AppendOutcome::kCoordinatorFenced:
      return ErrorCode::kTransactionCoordinatorFenced;
    case log::AppendOutcome::kInvalidTxnState:
      return ErrorCode::kInvalidTxnState;
    // Where nobody waits for room: to be sent again, as when the disk is full.
    case log::AppendOutcome::kNoRoom:
      return ErrorCode::kKafkaStorageError;
  }
}

}  // namespace millrace::broker
